"""Sets the seed only after the model has drawn its parameters."""

import torch

inputs = torch.linspace(-1, 1, 256).reshape(64, 4)
targets = inputs.sum(dim=1, keepdim=True).sin()
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1))  # <- here
torch.manual_seed(0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    rows = torch.randperm(64)[:16]
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs[rows]), targets[rows])
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
