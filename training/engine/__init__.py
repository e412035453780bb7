"""How does a run train? The loop, the step, losses, penalties, the average, processes, the state, and its
checkpoints and snapshots.
"""
