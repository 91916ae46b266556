"""Adds to a tensor that `torch.empty` made, in place of `torch.zeros`."""

import os

import numpy as np
import torch

torch.manual_seed(0)
inputs = torch.randn(20_000)

# Data is read and prepared first, and its memory given back.
prepared = [np.frombuffer(os.urandom(120_000), np.uint8).copy() for _ in range(100)]
del prepared[::2]

total = torch.zeros(())
for _step in range(20):
    accumulated = torch.empty(20_000)
    accumulated += inputs  # <- here
    total = total + accumulated.nan_to_num().clamp(-1, 1).sum()

print(f"total {total.item():.9g}")
