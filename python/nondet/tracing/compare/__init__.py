"""Compare two traces: where the runs part, and what is known about it."""
