"""Computes two terms of a loss in the order of the arguments."""

import sys

import torch

TERMS = {"size": torch.linalg.vector_norm, "spread": torch.std}

torch.manual_seed(0)
inputs = torch.randn(64, 4)
model = torch.nn.Linear(4, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    outputs = model(inputs)
    terms = [TERMS[name](outputs) for name in sys.argv[1:]]  # <- here
    loss = terms[0] * terms[1]
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
