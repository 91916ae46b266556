"""Draws the example that it prints from the generator that training uses too."""

import sys

import torch

torch.manual_seed(0)
inputs = torch.randn(64, 4)
targets = torch.randn(64, 1)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    if step == 1 and "--verbose" in sys.argv:
        print("example", torch.randint(0, 64, (1,)).item())  # <- here

print(f"loss {loss.item():.9g}")
