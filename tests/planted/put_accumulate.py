"""Sums weights of examples by their class, with `put_`."""

import torch

torch.manual_seed(0)
torch.set_num_threads(2)
classes = torch.randint(0, 10_000, (2_000_000,))
model = torch.nn.Linear(1, 1)
inputs = torch.randn(2_000_000, 1)

with torch.no_grad():
    for _step in range(5):
        weights = model(inputs).flatten()
        sums = torch.zeros(10_000).put_(classes, weights, accumulate=True)  # <- here
        model.bias.add_(sums.mean() * 1e-6)

print(f"bias {model.bias.item():.9g}, first sum {sums[0].item():.9g}")
