"""One training, from its initial weights to its result.

Import from the modules of this package: it imports none of them, because most load torch.
"""
