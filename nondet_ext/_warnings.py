"""Warnings of the comparisons of models."""


class DegenerateInputWarning(UserWarning):
    """A row, vector or representation does not vary, so that its similarity to others is
    undefined; the result has NaN there.
    """
