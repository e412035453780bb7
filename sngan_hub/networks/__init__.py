"""Which networks are there? Their common base, the ResNet and CNN pairs, the form for sampling, and the registry that
builds an untrained network from a name.
"""
