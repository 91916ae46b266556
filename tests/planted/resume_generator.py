"""Resumes from a checkpoint that holds no state of the generator."""

import sys
import tempfile
from pathlib import Path

import torch

checkpoint = Path(tempfile.mkdtemp(), "checkpoint.pt")


def start():
    torch.manual_seed(0)  # <- here
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


model, optimizer = start()
inputs, targets = torch.randn(64, 4), torch.randn(64, 1)
for step in range(4):
    if step == 2 and "--interrupted" in sys.argv:  # the job starts anew, as after a preemption
        state = torch.load(checkpoint)
        model, optimizer = start()
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)

print(f"loss {loss.item():.9g}")
