"""Training: the loop, the step, losses, penalties, the weight average, several processes, the state of a run, and its
checkpoints and snapshots.
"""
