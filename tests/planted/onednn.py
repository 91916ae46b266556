"""Trains a convolution, with oneDNN or without it."""

import sys

import torch

if "--without-onednn" in sys.argv:
    torch.backends.mkldnn.enabled = False
torch.manual_seed(0)
images = torch.randn(8, 16, 24, 24)
model = torch.nn.Conv2d(16, 32, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = model(images).square().mean()  # <- here
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}, first bias {model.bias[0].item():.9g}")
