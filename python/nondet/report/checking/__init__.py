"""The report of `nondet selftest`."""
