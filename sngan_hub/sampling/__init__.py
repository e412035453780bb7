"""Sampling: latents from seeds, uint8 images, grids and files; interpolation and videos; rejection sampling and
Langevin steps.
"""
