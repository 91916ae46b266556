"""The tables of nondet_ext.ordered: operators it sums itself, takes apart or leaves alone."""
