"""Keeps the last value that was seen of each user, though users come more than once."""

import torch

torch.manual_seed(0)
torch.set_num_threads(2)
users = torch.randint(0, 500_000, (2_000_000,))
values = torch.randn(2_000_000)
latest = torch.zeros(500_000)

for _step in range(5):
    latest[users] = values  # <- here
    values = values * 0.5 + latest.mean()

print(f"mean of the latest {latest.mean().item():.9g}")
