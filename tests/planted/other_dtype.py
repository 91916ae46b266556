"""Takes the dtype of its data from an argument."""

import sys

import torch

dtype = getattr(torch, sys.argv[1])

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.ones(64, 4, dtype=dtype).cumsum(0) / 64  # <- here

for _step in range(3):
    optimizer.zero_grad()
    loss = model(inputs.float()).square().mean()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
