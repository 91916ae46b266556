"""The operators that nondet_ext.ordered computes, decomposes, or passes through as harmless."""
