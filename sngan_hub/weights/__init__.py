"""Records of trained weights, included and published: hashes, licences, recipes and scores."""

from .record import PRETRAINED, Record, Score
from .records import WEIGHTS, find_record, reference_scores

__all__ = ["PRETRAINED", "WEIGHTS", "Record", "Score", "find_record", "reference_scores"]
