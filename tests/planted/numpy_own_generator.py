"""Adds noise from a generator of NumPy that takes its seed from chance."""

import numpy as np
import torch

torch.manual_seed(0)
generator = np.random.default_rng()
inputs = torch.randn(64, 4)
targets = torch.randn(64, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    noise = torch.from_numpy(generator.standard_normal((64, 4), dtype=np.float32))  # <- here
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs + noise), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
