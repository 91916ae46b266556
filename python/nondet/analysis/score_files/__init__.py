"""Readers of scores: studies, tables, arrays, and logs of evaluations of language models."""
