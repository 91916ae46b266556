"""Tests that the recorder's own memory does not come between the tensors of a script."""

import ctypes
import subprocess
import sys
import textwrap

import pytest

GROWTH = textwrap.dedent(
    """
    import ctypes, sys
    import torch
    from torch import nn
    import nondet

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in names]

    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Info
    torch.set_num_threads(1)
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
    model, x, y = nn.Sequential(*layers), torch.randn(64, 64), torch.arange(64) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    with nondet.trace(sys.argv[1]):
        train(100)
        before = libc.mallinfo2().arena
        train(500)
        print(libc.mallinfo2().arena - before)
    """
)
"""Prints by how many bytes the heap grows in 500 steps."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not the C library GNU's")
def test_the_heap_does_not_grow_with_the_steps(tmp_path):
    """Small blocks that live long would keep the memory of freed tensors from being used again."""
    script = tmp_path / "train.py"
    script.write_text(GROWTH)
    command = [sys.executable, str(script), str(tmp_path / "a.trace")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert int(done.stdout) < 16 << 20
