"""Scores of generators: Inception features, scores as functions of features, and evaluation protocols."""
