"""Computes with values below the smallest normal float32, flushed to zero or not."""

import sys

import torch

if "--flush" in sys.argv:
    torch.set_flush_denormal(True)
torch.manual_seed(0)
torch.set_num_threads(1)
probabilities = torch.full((64,), 0.5)

for _step in range(5):
    probabilities = probabilities * torch.rand(64) * 1e-8  # <- here

print(f"sum {probabilities.sum().item():.9g}")
