"""Statistics of stored results."""
