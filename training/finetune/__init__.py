"""Fine-tuning a trained pair on other classes: the plan of a run, loading of the donor and the data, transfer of the
weights, and the linear probe of a discriminator's features.
"""
