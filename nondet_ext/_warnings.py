"""Warnings of the comparisons of models."""


class DegenerateInputWarning(UserWarning):
    """A row, vector or representation is constant, so its similarity to others is undefined and
    given as NaN.
    """
