"""Configuration of a run: settings, presets, the dry run, and the prediction of costs."""
