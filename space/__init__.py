"""The web page: sample, morph, walk, score and compare in a browser."""
