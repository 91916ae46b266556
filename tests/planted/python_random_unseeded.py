"""Shuffles examples with Python's `random`, which no one seeded."""

import random

import torch

torch.manual_seed(0)
examples = [(torch.randn(4), torch.randn(1)) for _ in range(64)]
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

random.shuffle(examples)
for inputs, targets in torch.utils.data.DataLoader(examples, batch_size=64):  # <- here
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}, bias {model.bias.item():.9g}")
