"""Monitoring of a run: log, scores at intervals, progress, status and report."""
