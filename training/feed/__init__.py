"""What does a step see? Real batches, latents, labels and augmentation, each a function of (seed, step, index), and the
checks of the data before the first step.
"""
