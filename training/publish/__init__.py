"""Publishing a finished run: its records and model cards, the upload to the Hub, and the weights in the package."""
