"""Reads the files of a folder in the order in which the file system lists them."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

with tempfile.TemporaryDirectory() as folder:
    for number in range(8):
        np.save(Path(folder, f"part{number}.npy"), np.full((4, 5), number / 8, np.float32))
    names = os.listdir(folder)  # noqa: PTH208
    if "--other-machine" in sys.argv:
        names.reverse()  # as another file system lists them
    data = torch.utils.data.TensorDataset(
        torch.cat([torch.from_numpy(np.load(Path(folder, name))) for name in names])
    )

for (rows,) in torch.utils.data.DataLoader(data, batch_size=32):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(rows[:, :4]), rows[:, 4:])
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}, bias {model.bias.item():.9g}")
