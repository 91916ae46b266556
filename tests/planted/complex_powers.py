"""Takes powers of complex numbers, which the C library computes; a variable says how it does so."""

import torch

torch.manual_seed(0)
size = 0.1 + 10 * torch.rand(1000, dtype=torch.float64)
scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.SGD([scale], lr=1e-9)

for _step in range(3):
    optimizer.zero_grad()
    powers = torch.polar(size * scale, size.flip(0)) ** 3.3  # <- here
    loss = powers.real.mean()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.17g}")
