"""Multiplies a matrix with a part of a buffer, which begins where the argument says."""

import sys

import torch

offset = int(sys.argv[1])
torch.manual_seed(0)
matrix, values = torch.randn(301, 501), torch.randn(501)
vector = torch.zeros(600)[offset : offset + 501]
vector.copy_(values)
product = matrix @ vector  # <- here

print(f"first {product[0].item():.9g}, sum {product.sum().item():.9g}")
