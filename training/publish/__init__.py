"""How does a finished run reach others? Its record, its cards, the Hub and the weights inside the package."""
