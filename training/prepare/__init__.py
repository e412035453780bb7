"""Prepared data sets: reading images from folders, archives and other libraries, and writing them as arrays."""
