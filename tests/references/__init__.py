"""Slow reference implementations, independent of the code under test."""
