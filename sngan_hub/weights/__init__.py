"""Records of trained weights, included and published: hashes, licences, recipes and scores."""

from .records import PRETRAINED, WEIGHTS, Record, Score, find_record, reference_scores

__all__ = ["PRETRAINED", "WEIGHTS", "Record", "Score", "find_record", "reference_scores"]
