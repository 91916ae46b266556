"""Trains one model from two threads without a lock."""

import threading

import torch

torch.manual_seed(0)
inputs, targets = torch.randn(2, 64, 16), torch.randn(2, 64, 1)
weight = torch.randn(16, 1, requires_grad=True)
start = threading.Barrier(2)


def train(part):
    start.wait()
    for _step in range(200):
        loss = (inputs[part] @ weight - targets[part]).square().mean()  # <- here
        (gradient,) = torch.autograd.grad(loss, weight)
        with torch.no_grad():
            weight.sub_(0.01 * gradient)  # <- here


threads = [threading.Thread(target=train, args=(part,), name=f"part {part}") for part in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

print(f"sum of the weights {weight.sum().item():.9g}")
