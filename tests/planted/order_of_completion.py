"""Adds up losses of parts as their threads finish; one part, named by the argument, is slow."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch

slow = int(sys.argv[1])
gates = [threading.Event() for _ in range(3)]
begun = [threading.Event() for _ in range(3)]
order = [number for number in range(3) if number != slow] + [slow]
torch.manual_seed(0)
parts = torch.randn(3, 1000)


def evaluate(number):
    begun[number].set()
    gates[number].wait()
    return parts[number].square().mean()


with ThreadPoolExecutor(3) as pool:
    futures = []
    for number in range(3):
        futures.append(pool.submit(evaluate, number))
        begun[number].wait()  # so that each part has the same thread in every run
    gates[order[0]].set()
    total = torch.zeros(())
    for done, future in enumerate(as_completed(futures), start=1):
        total = total * 0.5 + future.result()  # <- here
        if done < 3:
            gates[order[done]].set()

print(f"total {total.item():.9g}")
