"""Adds up terms in the order of a set of parameters, which is that of their addresses."""

import torch


class Terms(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = torch.nn.ParameterList(torch.randn(4) for _ in range(600))

    def forward(self, inputs):
        total = torch.zeros(())
        for scale in set(self.parameters()):
            total = total + (scale * inputs).sum()  # <- here
        return total


torch.manual_seed(0)
model = Terms()
loss = model(torch.randn(4))
loss.backward()

print(f"loss {loss.item():.9g}")
