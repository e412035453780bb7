"""Scores of a generator: features -> pure functions of features -> named protocols, one JSON line each."""
