"""The data of a training step: real batches, latents, labels and augmentation, each a function of (seed, step, index);
and checks of the data before the first step.
"""
