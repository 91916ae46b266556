"""Trains on two ranks of torchrun, of which only the first sets its seed.

DistributedDataParallel gives both ranks the weights of the first, but not its generator.
"""

import hashlib
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 16)
        self.last = torch.nn.Linear(16, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(inputs).relu())


torch.manual_seed(0)
net = Net()
if rank == 1 and "--repaired" not in sys.argv:
    torch.seed()  # <- here
model = DistributedDataParallel(net)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.arange(64.0 * 8).reshape(64, 8).sin()[rank::2]

for _step in range(4):
    optimizer.zero_grad()
    noisy = inputs + 0.1 * torch.randn(inputs.shape)
    model(noisy).square().mean().backward()
    optimizer.step()

if rank == 0:
    weights = b"".join(each.detach().numpy().tobytes() for each in net.state_dict().values())
    print("weights", hashlib.sha256(weights).hexdigest())
dist.destroy_process_group()
