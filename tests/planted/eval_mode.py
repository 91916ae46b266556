"""Evaluates a model that was left in training mode."""

import sys

import torch

torch.manual_seed(0)
inputs = torch.randn(64, 8) + 1
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
if "--eval" in sys.argv:
    model.eval()

with torch.no_grad():
    output = model(inputs)  # <- here

print(f"mean {output.mean().item():.9g}, sum of squares {output.square().sum().item():.9g}")
