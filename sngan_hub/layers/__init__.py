"""What is a network built of? Spectral normalization and the other normalizers, conditional batch normalization,
resampling convolutions with the table of their faster form, and what counts as one forward of all this in training.
"""
