"""Multiplies a matrix with a part of a buffer of NumPy, which begins where the argument says."""

import sys

import numpy as np
import torch

offset = int(sys.argv[1])
torch.manual_seed(0)
matrix = torch.randn(301, 501)
part = np.zeros(600, np.float32)[offset : offset + 501]
part[:] = np.random.default_rng(0).standard_normal(501)
product = matrix @ torch.from_numpy(part)  # <- here

print(f"bits of the product {product.view(torch.int32).sum().item()}")
