"""Puts names into the rows of an embedding by their hash."""

import torch

NAMES = [f"user {number}" for number in range(64)]

torch.manual_seed(0)
buckets = torch.tensor([hash(name) % 32 for name in NAMES])  # <- here
targets = torch.randn(64, 8)
embedding = torch.nn.Embedding(32, 8)
optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(embedding(buckets), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
