"""Studies as data: settings, seeds, rows, and the studies of the paper and of users."""
