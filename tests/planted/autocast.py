"""Trains in float32, or with autocast."""

import sys

import torch

torch.manual_seed(0)
inputs, targets = torch.randn(64, 32), torch.randn(64, 1)
model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled="--autocast" in sys.argv):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)  # <- here
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
