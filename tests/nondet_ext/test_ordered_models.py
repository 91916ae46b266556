"""Test nondet_ext.ordered on small models, and compare with torch without it."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from factories.threads import threads_of_torch
from nondet_ext.ordering import ordered

nn = torch.nn


class Tokens(nn.Module):
    """A text classifier: a linear layer on the mean embedding of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16, padding_idx=0)
        self.out = nn.Linear(16, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.embedding(tokens).mean(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor], set[str]]] = {
    "MLP with batch norm": (
        lambda: nn.Sequential(
            nn.Linear(30, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
        ),
        lambda: torch.randn(256, 30),
        {"aten::mm", "aten::addmm"},
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3),
            nn.GroupNorm(4, 16),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 10),
        ),
        lambda: torch.randn(256, 3, 16, 16),
        {"aten::mm", "aten::addmm", "aten::convolution", "aten::convolution_backward"},
    ),
    "tokens": (Tokens, lambda: torch.randint(0, 50, (256, 40)), {"aten::mm", "aten::addmm"}),
    "layer norm": (
        lambda: nn.Sequential(
            nn.LayerNorm(40), nn.Linear(40, 20), nn.LayerNorm(20), nn.GELU(), nn.Linear(20, 10)
        ),
        lambda: torch.randn(256, 40),
        {"aten::mm", "aten::addmm"},
    ),
}


def train(name: str, scope: object) -> list[torch.Tensor]:
    """Run two steps of SGD with clipped gradients; return all parameters and buffers."""
    make, inputs, _ = MODELS[name]
    torch.manual_seed(0)
    model, x = make(), inputs()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    target = torch.arange(256) % 10
    with scope:
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return [each.detach().clone() for each in model.state_dict().values()]


@pytest.mark.parametrize("order", [{"order": "fixed"}, {"order": "seeded", "seed": 3}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_training_is_close_to_torch_and_says_what_was_not_covered(name, order):
    scope = ordered(**order)
    plain, inside = train(name, nullcontext()), train(name, scope)
    for one, other in zip(plain, inside, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert set(scope.uncovered) == MODELS[name][2]
    again = train(name, ordered(**order))
    with threads_of_torch(1):
        assert all(map(torch.equal, train(name, ordered(**order)), train(name, ordered(**order))))
    if set(scope.uncovered) <= {"aten::mm", "aten::addmm"}:
        assert all(map(torch.equal, inside, again))


PARTS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "batch norm": (lambda: nn.BatchNorm1d(7), lambda: torch.randn(30_011, 7)),
    "batch norm, images": (lambda: nn.BatchNorm2d(3), lambda: torch.randn(50, 3, 31, 37)),
    "layer norm": (lambda: nn.LayerNorm(50), lambda: torch.randn(3001, 50)),
    "group norm": (lambda: nn.GroupNorm(2, 6), lambda: torch.randn(40, 6, 29, 31)),
    "embedding": (
        lambda: nn.Embedding(20, 8, padding_idx=3, scale_grad_by_freq=True),
        lambda: torch.randint(0, 20, (100, 101)),
    ),
    "softmax": (lambda: nn.Softmax(1), lambda: torch.randn(11, 20_011)),
    "log_softmax": (lambda: nn.LogSoftmax(0), lambda: torch.randn(20_011, 3)),
}


def forward_and_backward(name: str, order: str | None) -> list[torch.Tensor]:
    make, inputs = PARTS[name]
    torch.manual_seed(1)
    module, x = make(), inputs()
    x.requires_grad_(x.is_floating_point())
    with ordered(order) if order else nullcontext() as scope:
        y = module(x)
        (y * y.detach().cos()).sum().backward(torch.tensor(0.7))
    if order:
        assert scope.uncovered == {}
    results = [y.detach(), x.grad, *(p.grad for p in module.parameters()), *module.buffers()]
    return [each for each in results if each is not None]


@pytest.mark.parametrize("order", ["fixed", "exact"])
@pytest.mark.parametrize("name", PARTS)
def test_covered_layers_do_not_depend_on_the_number_of_threads(name, order):
    results = []
    for count in (1, 2, 3):
        with threads_of_torch(count):
            results.append(forward_and_backward(name, order))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
    plain = forward_and_backward(name, None)
    for one, other in zip(plain, results[0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_bfloat16_layers_keep_their_dtypes():
    layer = nn.BatchNorm1d(7).bfloat16()
    with ordered():
        y = layer(torch.randn(300, 7).bfloat16())
        y.square().sum().backward()
    assert {y.dtype, layer.weight.grad.dtype, layer.running_mean.dtype} == {torch.bfloat16}


# The tests below also run torch without a scope. If such a control fails, torch does not vary on
# this machine; the scope is not broken.

VECTORS = [
    torch.randn(200_000, generator=torch.Generator().manual_seed(seed)) for seed in range(50)
]


def sums_that_differ(scope: Callable[[], object]) -> int:
    """Count the vectors, of 50, whose sum has different bits with one thread and with two."""
    differ = 0
    for x in VECTORS:
        with threads_of_torch(1), scope():
            one = x.sum()
        with threads_of_torch(2), scope():
            differ += not torch.equal(one, x.sum())
    return differ


def test_the_sum_of_torch_depends_on_the_number_of_threads_and_this_one_does_not():
    assert sums_that_differ(ordered) == 0
    control = sums_that_differ(nullcontext)
    assert control >= 5, f"torch.sum agreed on 1 and 2 threads for {50 - control} of 50 vectors"


def test_a_row_of_a_matrix_product_depends_on_its_batch_and_is_reported():
    differ = 0
    with ordered() as scope:
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)
            a = torch.randn(64, 512, generator=generator)
            b = torch.randn(512, 64, generator=generator)
            differ += not torch.equal((a @ b)[:1], a[:1] @ b)
    assert scope.uncovered == {"aten::mm": 40}
    assert differ >= 2, f"torch.mm gave one row the same bits in a batch for {20 - differ} of 20"


def test_accumulating_index_put_races_in_torch_and_not_inside():
    # So many that on one core, too, the system interrupts one of torch's threads for the other.
    bins, n = 64, 4_000_000
    index = torch.randint(0, bins, (n,), generator=torch.Generator().manual_seed(0))
    values = torch.randn(n, generator=torch.Generator().manual_seed(1))

    def put() -> tuple[float, ...]:
        return tuple(torch.zeros(bins).index_put_((index,), values, accumulate=True).tolist())

    with threads_of_torch(2):
        with ordered() as scope:
            assert len({put() for _ in range(8)}) == 1
        assert scope.uncovered == {}
        results = set()
        for _ in range(200):  # 8 runs are enough on two idle cores
            results.add(put())
            if len(results) > 1:
                break
    assert len(results) > 1, "200 runs of torch's index_put_ did not race on this machine"
