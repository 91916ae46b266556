"""Reads a buffer that another thread goes on filling."""

import threading

import numpy as np
import torch

torch.manual_seed(0)
model = torch.nn.Linear(16, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
buffer = np.zeros((64, 16), np.float32)
batch = torch.from_numpy(buffer)
started, filled, stopped = threading.Event(), threading.Event(), threading.Event()


def fill():
    started.wait()
    number = 0
    while not stopped.is_set():
        number += 1
        buffer[:] = number % 1009 / 1009
        filled.set()


writer = threading.Thread(target=fill, daemon=True)
writer.start()
for step in range(20):
    optimizer.zero_grad()
    loss = model(batch).square().mean()  # <- here
    loss.backward()
    optimizer.step()
    if step == 0:
        started.set()
        filled.wait()
stopped.set()
writer.join()

print(f"loss {loss.item():.9g}")
