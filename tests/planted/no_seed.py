"""Trains a small network without setting a seed."""

import torch

inputs = torch.linspace(-1, 1, 256).reshape(64, 4)
targets = inputs.sum(dim=1, keepdim=True).sin()
model = torch.nn.Linear(4, 1)  # <- here
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
