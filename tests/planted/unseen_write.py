"""Hands the memory of a tensor to a C library, which writes to it."""

import ctypes
import os

import torch

torch.manual_seed(0)
model = torch.nn.Linear(16, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.ones(64, 16)

for step in range(3):
    optimizer.zero_grad()
    if step == 1:
        noise = bytes(byte % 64 for byte in os.urandom(8))  # of small numbers
        ctypes.memmove(inputs.data_ptr(), noise, len(noise))
    loss = model(inputs).square().mean()  # <- here
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
