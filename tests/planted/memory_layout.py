"""Sums the columns of a table that lies in memory by rows or by columns."""

import sys

import numpy as np
import torch

torch.manual_seed(0)
numbers = np.sin(np.arange(1_000_000, dtype=np.float32)).reshape(1000, 1000)
table = torch.from_numpy(np.array(numbers, order=sys.argv[1]))
scale = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([scale], lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    means = table.sum(0)  # <- here
    loss = (means * scale).square().mean()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
