"""Which trained weights exist? Records of ours and of published files: hashes, licences, recipes, scores."""

from .records import PRETRAINED, WEIGHTS, Record, Score, find_record, reference_scores

__all__ = ["PRETRAINED", "WEIGHTS", "Record", "Score", "find_record", "reference_scores"]
