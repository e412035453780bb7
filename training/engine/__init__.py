"""How does a run train? The loop, the step, losses, penalties, the average, processes, and the state on disk."""
