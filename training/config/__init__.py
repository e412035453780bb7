"""What will a run do? Its settings, the presets, and the dry run with its costs."""
