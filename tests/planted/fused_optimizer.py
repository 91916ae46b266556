"""Trains with Adam, fused or not."""

import sys

import torch

torch.manual_seed(0)
inputs, targets = torch.randn(64, 32), torch.randn(64, 1)
model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused="--fused" in sys.argv)

for _step in range(3):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()  # <- here

print(f"loss {loss.item():.9g}, bias {model[2].bias.item():.9g}")
