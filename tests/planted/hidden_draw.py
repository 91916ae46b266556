"""Looks at one batch before training; every iterator of a loader draws a base seed."""

import sys

import torch

torch.manual_seed(0)
data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
loader = torch.utils.data.DataLoader(data, batch_size=16)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

if "--peek" in sys.argv:
    first, _ = next(iter(loader))  # <- here
    print("shape of a batch", tuple(first.shape))

for inputs, targets in loader:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
