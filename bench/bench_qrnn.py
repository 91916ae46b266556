"""Compare quasi-recurrent layers, forward and backward, with a loop over time under autograd and
with torch's LSTM of the same width.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

import nondet_ext
from harness import Bench, Contender

STEPS, BATCH, HIDDEN = 70, 20, 512
SMALL = 5, 3, 16


def leaves(*shape: int, seed: int) -> list[torch.Tensor]:
    """Return z in (-1, 1), f and o in (0, 1), and a zero initial state; all require gradients."""
    f, o, z = nondet_ext.philox_uniform((3, *shape), seed=seed)
    return [x.requires_grad_() for x in (2 * z - 1, f, o, torch.zeros(shape[1:]))]


def loop(
    z: torch.Tensor, f: torch.Tensor, o: torch.Tensor, cell: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute forget_mult step by step in torch."""
    cells = []
    for z_t, f_t in zip(z, f, strict=True):
        cell = f_t * cell + (1 - f_t) * z_t
        cells.append(cell)
    return o * torch.stack(cells), cell


def loop_by_index(
    z: torch.Tensor, f: torch.Tensor, o: torch.Tensor, cell: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute forget_mult with indices, as often written; autograd makes a gradient of full size
    for every z[t].
    """
    outputs = []
    for t in range(len(z)):
        cell = f[t] * cell + (1 - f[t]) * z[t]
        outputs.append(o[t] * cell)
    return torch.stack(outputs), cell


def step(
    recurrence: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    inputs: list[torch.Tensor],
    gradient: torch.Tensor,
) -> list[torch.Tensor]:
    """Return the result of the recurrence and the gradients of its inputs."""
    h, _ = recurrence(*inputs)
    return [h, *torch.autograd.grad(h, inputs, gradient)]


PEAK = """
import re, sys
from pathlib import Path
import torch
import nondet_ext
from bench_qrnn import leaves, loop, step
def peak():  # ru_maxrss of a child begins with its parent's
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
who, *shape = sys.argv[1:]
recurrence = {"ours": nondet_ext.forget_mult, "loop": loop}[who]
step(recurrence, leaves(2, 1, 64, seed=1), torch.ones(2, 1, 64))  # what the first call loads
shape = list(map(int, shape))
inputs, gradient = leaves(*shape, seed=1), torch.ones(shape)
before = peak()
step(recurrence, inputs, gradient)
print(before, peak())
"""


@functools.cache
def peak_memory(who: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Return by how many MB a step raises the peak of a process that holds its inputs."""
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, who, *map(str, shape)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    before, after = (int(count) / 1e6 for count in ran.stdout.split())
    return {"peak MB beside the inputs": round(after - before, 1)}


@pytest.mark.parametrize(("batch", "hidden"), [(BATCH, HIDDEN), (BATCH, 128), (1, HIDDEN)])
def test_recurrence(bench: Bench, batch: int, hidden: int) -> None:
    shape = SMALL if bench.smoke else (STEPS, batch, hidden)
    inputs, gradient = leaves(*shape, seed=1), torch.ones(shape)
    # Forward reads z, f, o and writes h; backward reads these and h's gradient and writes three.
    moved = 11 * gradient.nbytes
    contenders = [
        Contender(
            "forget_mult", "ours", lambda: step(nondet_ext.forget_mult, inputs, gradient), moved
        ),
        Contender(
            "loop over time in torch, autograd",
            "peer",
            lambda: step(loop, inputs, gradient),
            moved,
        ),
        Contender(
            "the same loop over z[t], f[t], o[t]",
            "peer",
            lambda: step(loop_by_index, inputs, gradient),
            moved,
        ),
    ]
    ours = contenders[0].run()
    for each in contenders[1:]:
        theirs = each.run()
        assert torch.equal(ours[0], theirs[0])
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    if sys.platform == "linux":
        contenders[0].notes.update(peak_memory("ours", shape))
        contenders[1].notes.update(peak_memory("loop", shape))
    steps, batch, hidden = shape
    case = f"forget_mult, forward and backward, T = {steps}, B = {batch}, H = {hidden}, float32"
    bench.time(case, *contenders, rounds=7)


def test_layer(bench: Bench) -> None:
    steps, batch, hidden = SMALL if bench.smoke else (STEPS, BATCH, HIDDEN)
    x = nondet_ext.philox_normal((steps, batch, hidden), seed=2).requires_grad_()
    weight = nondet_ext.philox_normal((3 * hidden, hidden), seed=3) / hidden**0.5
    bias = torch.zeros(3 * hidden)
    parameters = [x, weight.requires_grad_(), bias.requires_grad_()]
    lstm = nn.LSTM(hidden, hidden)
    gradient = torch.ones(steps, batch, hidden)

    def ours() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(nondet_ext.qrnn(*parameters)[0], parameters, gradient)

    def theirs() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(lstm(x)[0], [x, *lstm.parameters()], gradient)

    z, f, o = nn.functional.linear(*parameters).chunk(3, 2)
    h, _ = loop(z.tanh(), f.sigmoid(), o.sigmoid(), torch.zeros(batch, hidden))
    expected = torch.autograd.grad(h, parameters, gradient)
    for mine, other in zip(ours(), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)
    bench.time(
        f"layer, forward and backward, T = {steps}, B = {batch}, H = I = {hidden}, float32",
        Contender("qrnn", "ours", ours, 0),
        Contender("torch.nn.LSTM", "peer", theirs, 0),
        rounds=7,
    )
