"""Multiplies matrices; a variable of the environment says which kernels MKL takes."""

import torch

torch.manual_seed(0)
left, right = torch.randn(200, 300), torch.randn(300, 200)
scale = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([scale], lr=1e-3)

for _step in range(3):
    optimizer.zero_grad()
    product = left @ right  # <- here
    loss = (product * scale).square().mean()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
