"""Fits a table of ten values that is read by indexing."""

import torch

torch.manual_seed(0)
torch.set_num_threads(2)
table = torch.randn(10, requires_grad=True)
index = torch.randint(0, 10, (2_000_000,))
target = index.sin() + 0.01 * torch.randn(2_000_000)
optimizer = torch.optim.SGD([table], lr=0.5)

for _step in range(5):
    optimizer.zero_grad()
    rows = table[index]  # <- here
    loss = (rows - target).square().mean()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}, sum of the table {table.sum().item():.9g}")
