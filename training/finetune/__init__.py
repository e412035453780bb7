"""How does a trained pair learn other classes? The plan of such a run, the loading of donor and data, the transfer
of weights, and the probe of a discriminator's features.
"""
