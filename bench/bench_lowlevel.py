"""Measure the cost of the low-level source: training steps with converted layers and with the
unconverted model, under the settings of a study's worker (one thread, deterministic algorithms,
freed memory kept).

The machine's speed drifts during a case, which takes minutes. Therefore one test times the orders
of a case alternately, and each order reports the times of its own steps.
"""

import copy
import time
from statistics import median

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Bench, Contender
from nondet import lowlevel
from nondet.execute.executors import keep_memory
from nondet.models import build_model
from nondet.models.memory_format import to_memory_format
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet_ext import accumulate, philox_normal, philox_randint

ORDERS = ("unconverted", "fixed", "seeded", "atomic", "exact")


class Step:
    """A training step of a model with its optimizer and a batch of CIFAR-10 shape."""

    def __init__(self, name: str, batch_size: int, order: str) -> None:
        self.order = order
        self.model: nn.Module = build_model(name, (3, 32, 32), 10, Seeds().key("init"))
        if order != "unconverted":
            lowlevel.convert(self.model)
        self.layers = lowlevel.layers(self.model)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True
        )
        self.images = to_memory_format(philox_normal((batch_size, 3, 32, 32), seed=1), self.model)
        self.labels = philox_randint(0, 10, (batch_size,), seed=2)
        self.step = 0

    def run(self) -> float:
        self.optimizer.zero_grad()
        logits = self.model(self.images)
        if self.order == "unconverted":
            loss = cross_entropy(logits, self.labels)
        else:
            lowlevel.set_order(self.layers, self.order, 1, self.step)
            loss = lowlevel.cross_entropy(
                logits, self.labels, order=self.order, seed=1, step=self.step
            )
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.item()


def check(steps: dict[str, Step]) -> None:
    """Check that losses before the first update are equal, and that gradients agree up to the
    rounding of half a million terms of both signs.
    """
    losses = {order: step.run() for order, step in steps.items()}
    plain = steps["unconverted"]
    for order, step in steps.items():
        assert abs(losses[order] - losses["unconverted"]) < 1e-5
        pairs = zip(step.model.parameters(), plain.model.parameters(), strict=True)
        for ours, theirs in pairs:
            assert (ours.grad - theirs.grad).norm() <= 1e-2 * theirs.grad.norm() + 1e-6


@pytest.fixture(autouse=True, scope="module")
def _as_a_worker() -> None:
    keep_memory()


@pytest.mark.parametrize("who", ORDERS)
@pytest.mark.parametrize(
    ("name", "batch_size"),
    [("resnet14", 512), ("resnet14-w8", 128), ("hidden", 512), ("linear", 512)],
)
def test_step(bench: Bench, name: str, batch_size: int, who: str) -> None:
    with deterministic():
        batch_size = 8 if bench.smoke else batch_size
        case = f"step of {name}, batch {batch_size}, one thread"
        times = steps_in_turn(name, batch_size, 1 if bench.smoke else 7)
        role = "ours" if who != "unconverted" else "peer"
        ratio = times[who] / times["unconverted"]
        step = Step(name, batch_size, who)
        bench.time(
            case, Contender(who, role, step.run, 0, notes={"times the unconverted": ratio}), 1
        )


_TURNS: dict[tuple[str, int], dict[str, float]] = {}


def steps_in_turn(name: str, batch_size: int, rounds: int) -> dict[str, float]:
    """Return the median time of a step for each order, in seconds; the orders alternate in every
    round.
    """
    if (name, batch_size) not in _TURNS:
        steps = {order: Step(name, batch_size, order) for order in ORDERS}
        check(copy.deepcopy(steps))
        times: dict[str, list[float]] = {order: [] for order in ORDERS}
        for _ in range(rounds):
            for order, step in steps.items():
                begin = time.perf_counter()
                step.run()
                times[order].append(time.perf_counter() - begin)
        _TURNS[name, batch_size] = {order: median(each) for order, each in times.items()}
    return _TURNS[name, batch_size]


@pytest.mark.parametrize("columns", [16, 5120, 32768])
@pytest.mark.parametrize("who", ["fixed", "seeded", "atomic", "exact", "torch"])
def test_small_accumulations(bench: Bench, columns: int, who: str) -> None:
    partials = philox_normal((8, columns), seed=1)
    calls = 5 if bench.smoke else 500
    seed = {"seed": (1, 2, 3, 0)} if who == "seeded" else {}

    def run() -> None:
        for _ in range(calls):
            if who == "torch":
                partials.sum(0)
            else:
                accumulate(partials, order=who, **seed)

    with deterministic():
        if who != "torch":
            error = accumulate(partials, order=who, **seed) - partials.double().sum(0)
            assert bool((error.abs() <= 7 * 2.0**-24 * partials.abs().double().sum(0) * 1.01).all())
        contender = Contender(
            f"accumulate, {who}" if who != "torch" else "torch.sum(0)",
            "ours" if who != "torch" else "peer",
            run,
            4 * 9 * columns * calls,
        )
        bench.time(f"{calls} accumulations of (8, {columns}) float32, one thread", contender)
