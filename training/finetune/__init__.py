"""How does a trained pair learn other classes? The plan of such a run, the transfer of weights, and the probe of a
discriminator's features.
"""
