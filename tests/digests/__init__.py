"""Digests of the results of every op and of small studies."""
