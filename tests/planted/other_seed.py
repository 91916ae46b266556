"""Takes its seed as an argument."""

import sys

import torch

torch.manual_seed(int(sys.argv[1]))  # <- here
inputs, targets = torch.randn(64, 4), torch.randn(64, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
