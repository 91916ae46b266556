"""Inputs, results and helpers that several tests share."""
