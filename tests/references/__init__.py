"""Slow implementations, written apart from the code under test, to compare with."""
