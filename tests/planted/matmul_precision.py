"""Multiplies matrices with the precision that the argument gives."""

import sys

import torch

torch.set_float32_matmul_precision(sys.argv[1])
torch.manual_seed(0)
inputs, targets = torch.randn(256, 256), torch.randn(256, 64)
weight = torch.randn(256, 64, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=0.01)

for _step in range(3):
    optimizer.zero_grad()
    loss = (inputs @ weight - targets).square().mean()  # <- here
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
