"""How does a name, file, folder or repository become a verified network, and how does a network reach the Hugging Face
Hub? Resolving, downloading and loading; cards, pushing and listing.
"""
