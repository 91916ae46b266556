"""Takes the time of the run as a feature."""

import time

import torch

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.tensor([[0.5, time.time() % 1.0]] * 8)  # <- here

for _step in range(3):
    optimizer.zero_grad()
    loss = model(inputs).square().mean()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
