"""What is a network built of? Spectral normalization and the other normalizers, conditional batch normalization, and
resampling convolutions with the table of their faster form.
"""
