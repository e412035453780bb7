"""Layers: spectral normalization and other normalizers, conditional batch normalization, and resampling convolutions
with a table of their faster form.
"""
