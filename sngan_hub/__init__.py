"""sngan-hub."""
