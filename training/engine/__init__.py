"""How does a run train? The loop, the step, losses and penalties, the average, processes, and the run's state on disk."""
