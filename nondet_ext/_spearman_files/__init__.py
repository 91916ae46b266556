"""The steps of spearman_files: read, rank, multiply, resume."""
