"""Adds noise from NumPy, whose generator no one seeded."""

import numpy as np
import torch

torch.manual_seed(0)
inputs = torch.randn(64, 4)
targets = torch.randn(64, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    noise = torch.from_numpy(np.random.standard_normal((64, 4)).astype(np.float32))  # <- here
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs + noise), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
