"""How is a run doing? Its log, scores at intervals, its status and its report."""
