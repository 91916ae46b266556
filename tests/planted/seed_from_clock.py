"""Takes the seed from the clock."""

import time

import torch

torch.manual_seed(time.time_ns() % 2**32)  # <- here
inputs = torch.randn(64, 4)
targets = torch.randn(64, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
