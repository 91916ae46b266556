"""Resumes from a checkpoint that holds the weights alone."""

import sys
import tempfile
from pathlib import Path

import torch

checkpoint = Path(tempfile.mkdtemp(), "checkpoint.pt")


def start():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


model, optimizer = start()
inputs, targets = torch.randn(64, 4), torch.randn(64, 1)
for step in range(4):
    if step == 2 and "--interrupted" in sys.argv:  # the job starts anew, as after a preemption
        model, optimizer = start()
        model.load_state_dict(torch.load(checkpoint))
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()  # <- here
    torch.save(model.state_dict(), checkpoint)

print(f"loss {loss.item():.9g}")
