"""Fine-tunes a trained pair on other classes: plans the run, loads the donor and the data, transfers the weights. Also
contains the linear probe of a discriminator's features.
"""
