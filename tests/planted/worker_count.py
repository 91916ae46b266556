"""Augments examples with random numbers in the workers of a loader."""

import sys

import torch


class Noisy(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.full((4,), index / 32) + 0.1 * torch.randn(4), torch.ones(1)


if __name__ == "__main__":
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(Noisy(), batch_size=8, num_workers=int(sys.argv[1]))

    for inputs, targets in loader:  # <- here
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()

    print(f"loss {loss.item():.9g}")
