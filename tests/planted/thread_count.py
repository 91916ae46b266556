"""Sums many values; the environment says on how many threads."""

import torch

torch.manual_seed(0)
values = torch.randn(1_000_000)
scale = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([scale], lr=1e-7)

for _step in range(3):
    optimizer.zero_grad()
    loss = (values * scale).sum()  # <- here
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
