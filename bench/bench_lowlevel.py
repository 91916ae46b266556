"""Measure the cost of the low-level source: training steps with converted layers and with the
unconverted model, under the settings of a study's worker (one thread, deterministic algorithms,
freed memory kept).
"""

import copy
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Bench, Contender
from nondet import lowlevel
from nondet.execute.executors import keep_memory
from nondet.lowlevel import accumulation
from nondet.models import build_model
from nondet.models.memory_format import to_memory_format
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet_ext import philox_normal, philox_randint

MODELS = {"resnet14": 512, "resnet14-w8": 128, "hidden": 512, "linear": 512}
"""Models and batch sizes."""
ORDERS = ("fixed", "seeded", "atomic", "exact")
WANTED = {
    ("resnet14-w8", "fixed"): 1 / 1.08,
    ("hidden", "fixed"): 1 / 1.1,
    ("hidden", "exact"): 1 / 1.3,
}
"""The least ratio of the unconverted step to the step in this order."""


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


def without_sums(run: Callable[[], float]) -> float:
    """Return what a step returns that takes the first partial sum for all.

    The rest of a step's price is that of the partial sums: the vendor's kernels compute them for
    parts of the batch, and write a gradient for each.
    """
    with mock.patch.object(accumulation, "accumulate", lambda partials, **_: partials[0].clone()):
        return run()


def check(converted: Step, plain: Step) -> None:
    """Check that losses before the first update are equal, and that gradients agree up to the
    rounding of half a million terms of both signs.
    """
    assert abs(converted.run() - plain.run()) < 1e-5
    pairs = zip(converted.model.parameters(), plain.model.parameters(), strict=True)
    for ours, theirs in pairs:
        assert (ours.grad - theirs.grad).norm() <= 1e-2 * theirs.grad.norm() + 1e-6


@pytest.fixture(autouse=True, scope="module")
def _as_a_worker() -> None:
    keep_memory()


@pytest.mark.parametrize(
    ("name", "order"),
    [
        pytest.param(name, order, marks=[pytest.mark.table] if (name, order) in WANTED else [])
        for name in MODELS
        for order in ORDERS
    ],
)
def test_step(bench: Bench, name: str, order: str) -> None:
    batch_size = 8 if bench.smoke else MODELS[name]
    with deterministic():
        converted, plain = (Step(name, batch_size, each) for each in (order, "unconverted"))
        unadded = copy.deepcopy(converted)
        check(copy.deepcopy(converted), copy.deepcopy(plain))
        bench.time(
            f"step of {name}, batch {batch_size}, {order}, one thread",
            Contender(order, "ours", converted.run, 0),
            Contender("unconverted", "peer", plain.run, 0, wanted=WANTED.get((name, order))),
            Contender("no partial sums added", "peer", lambda: without_sums(unadded.run), 0),
            rounds=5 if name == "resnet14" else 21,
        )
