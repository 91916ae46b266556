"""Takes batches as the workers finish them; one worker, named by the argument, is slow."""

import multiprocessing
import sys

import torch


class Slow(torch.utils.data.Dataset):
    def __init__(self, worker, disk):
        self.worker, self.disk = worker, disk

    def __len__(self):
        return 16

    def __getitem__(self, index):
        if torch.utils.data.get_worker_info().id == self.worker:
            self.disk.wait()  # until the other worker's batch is used
        return torch.full((4,), index / 16), torch.ones(1)


if __name__ == "__main__":
    torch.manual_seed(0)
    disk = multiprocessing.get_context("fork").Event()
    data = Slow(int(sys.argv[1]), disk)
    loader = torch.utils.data.DataLoader(
        data, batch_size=8, num_workers=2, in_order=False, multiprocessing_context="fork"
    )
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    for inputs, targets in loader:  # <- here
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        disk.set()

    print(f"loss {loss.item():.9g}")
