"""The steps of nondet_ext.spearman_files: read, rank, multiply, resume."""
