"""Calls of every op on inputs that are the same everywhere, and the permanent digests of their
results.
"""
