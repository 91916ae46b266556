"""Normalises values; the environment makes torch use the instructions of an older processor."""

import torch

torch.manual_seed(0)
values = torch.rand(10_000, requires_grad=True)
optimizer = torch.optim.SGD([values], lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = values.softmax(dim=0).square().sum()  # <- here
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}, first value {values[0].item():.9g}")
