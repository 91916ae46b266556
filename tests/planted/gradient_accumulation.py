"""Accumulates the gradient of a batch over so many parts as the argument says."""

import sys

import torch

parts = int(sys.argv[1])
torch.manual_seed(0)
inputs = torch.randn(64, 32)
targets = torch.randn(64, 1)
model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    for x, y in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):  # <- here
        loss = torch.nn.functional.mse_loss(model(x), y) / parts
        loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
