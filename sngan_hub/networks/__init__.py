"""Networks: base classes, saving and loading, the ResNet and CNN pairs, the fast copy for sampling, and the registry
that builds untrained networks by name.
"""
