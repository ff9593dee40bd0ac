"""``firsttoken tune --try``: settings of the embedded engine are tried, and the best is proved."""
