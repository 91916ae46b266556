"""Test that backends, threads, strides and blocks of examples change no bit of the comparisons of
models; test their errors.
"""

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on
from nondet_ext import _pairwise_ops
from nondet_ext._backend import use_backend
from nondet_ext._native import _C
from nondet_ext.ensembles import EnsembleSums

CASES = [(m, s) for m in ("accuracy", "cross_entropy") for s in ("logits", "probabilities")]


def inputs(models: int, examples: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(classes)
    logits = 4 * rng.standard_normal((models, examples, classes)).astype(np.float32)
    logits[:, 1::5] *= 500  # underflows
    return torch.from_numpy(logits), torch.from_numpy(rng.integers(0, classes, examples))


def bits(x: torch.Tensor) -> bytes:
    return x.contiguous().numpy().tobytes()


def generic(work: Callable[[], torch.Tensor]) -> bytes:
    """Return the bits of the result with the instruction set "generic" and one thread."""
    isa, threads = _C.cpu.current_isa(), torch.get_num_threads()
    _C.cpu.set_isa("generic")
    torch.set_num_threads(1)
    try:
        with use_backend(None):
            return bits(work())
    finally:
        _C.cpu.set_isa(isa)
        torch.set_num_threads(threads)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("shape", [(17, 12, 5), (2, 5, 65)], ids=str)
def test_one_result_on_every_backend(case, shape):
    def work() -> torch.Tensor:
        return nondet_ext.ensemble_delta(*inputs(*shape), *case)

    assert bits(work()) == generic(work)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("space", ["logits", "probabilities"])
def test_one_result_on_every_backend_for_two_tiles(space):
    def work() -> torch.Tensor:
        return nondet_ext.ensemble_delta(*inputs(2, 1027, 2), "cross_entropy", space)

    assert bits(work()) == generic(work)


@pytest.mark.usefixtures("threads", "cpu_isa")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_threads_do_not_change_a_bit(case):
    logits, labels = inputs(5, 5 * 1024 + 3, 3)
    results = set()
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        results.add(bits(nondet_ext.ensemble_delta(logits, labels, *case)))
    assert len(results) == 1


@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_counts():
    predictions = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (11, 100_001)))
    results = set()
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        results.add(bits(nondet_ext.disagreement(predictions)))
    assert len(results) == 1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_strides_do_not_change_a_bit(case):
    logits, labels = inputs(5, 21, 4)
    spread = torch.zeros(9, 4, 2, 21)
    strided = spread[::2, :, 1].permute(0, 2, 1)
    strided.copy_(logits)
    expected = bits(nondet_ext.ensemble_delta(logits, labels, *case))
    assert bits(nondet_ext.ensemble_delta(strided, labels, *case)) == expected
    every_second = torch.stack([labels, labels + 1], 1)[:, 0]
    assert bits(nondet_ext.ensemble_delta(strided, every_second.int(), *case)) == expected
    one = logits[:1].expand(5, -1, -1)
    assert not nondet_ext.ensemble_delta(one, labels, *case).any()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocks_of_examples_do_not_change_a_bit(case):
    logits, labels = inputs(4, 3500, 3)
    whole = nondet_ext.ensemble_delta(logits, labels, *case)
    for cuts in ([0, 1024, 3500], [0, 2048, 3072, 3500], [0, 3072, 3072, 3500]):
        sums = EnsembleSums(4, *case, torch.device("cpu"))
        for begin, end in pairwise(cuts):
            sums.update(logits[:, begin:end], labels[begin:end])
        assert torch.equal(sums.delta(), whole)


def test_a_ragged_block_in_the_middle_is_refused():
    logits, labels = inputs(2, 8, 3)
    sums = EnsembleSums(2, "cross_entropy", "logits", torch.device("cpu"))
    sums.update(logits, labels)
    with pytest.raises(ValueError, match="multiple of 1024 examples, got 8"):
        sums.update(logits, labels)
    # Sums of integers may be cut anywhere.
    counts = EnsembleSums(2, "accuracy", "logits", torch.device("cpu"))
    counts.update(logits[:, :3], labels[:3])
    counts.update(logits[:, 3:], labels[3:])
    assert torch.equal(counts.delta(), nondet_ext.ensemble_delta(logits, labels))


def test_waves_of_tiles(monkeypatch):
    logits, labels = inputs(2, 2 * 1024 + 1, 1)
    expected = generic(lambda: nondet_ext.ensemble_delta(logits, labels, "cross_entropy"))
    monkeypatch.setattr(_pairwise_ops, "_WAVE_BYTES", 2 * 8 * 4)  # two tiles at once
    with running_on("emulated"):
        assert bits(nondet_ext.ensemble_delta(logits, labels, "cross_entropy")) == expected


# (models, examples, classes): around the edges of what a block holds of each.
TILES = [
    *(
        (models, 2, 3)
        for models in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65)
    ),
    *((5, examples, 2) for examples in (1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)),
    *((18, 3, classes) for classes in (1, 2, 8, 10, 15, 16, 17, 31, 32, 33)),
    (2, 3, 1000),
]


@pytest.mark.parametrize("backend", ["emulated", "race", "ptx"])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_side_of_a_tile_of_models_does_not_change_a_bit(monkeypatch, backend, side):
    monkeypatch.setattr(_pairwise_ops, "_side", lambda models, layers: side)
    dtypes = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
    with running_on(backend):
        for number, shape in enumerate(TILES):
            logits, labels = inputs(*shape)
            logits = logits.to(dtypes[number % len(dtypes)])
            if number % 3 == 0:  # classes far apart, models next to each other
                logits = logits.permute(2, 1, 0).contiguous().permute(2, 1, 0)

            def work(logits: torch.Tensor = logits, labels: torch.Tensor = labels) -> torch.Tensor:
                return torch.stack([nondet_ext.ensemble_delta(logits, labels, *c) for c in CASES])

            assert bits(work()) == generic(work), (shape, logits.dtype)


def test_sides_are_wide_where_blocks_are_many(monkeypatch):
    sides = {
        (64, 128): 64,
        (64, 127): 32,  # three blocks a layer
        (33, 128): 64,
        (32, 128): 32,
        (17, 128): 32,
        (16, 10**6): 16,
        (1, 10**6): 16,
        (64, 42): 16,
        (1000, 1): 64,
        (100, 157): 64,
        (100, 10): 16,
    }
    assert {key: _pairwise_ops._side(*key) for key in sides} == sides
    monkeypatch.setattr(_pairwise_ops, "_side", lambda models, layers: 8)
    with running_on("emulated"), pytest.raises(ValueError, match="side must be 16, 32 or 64, got"):
        nondet_ext.ensemble_delta(*inputs(2, 3, 2))


def test_no_examples_change_nothing():
    with running_on("emulated"):
        counts = torch.ones(3, 3, dtype=torch.int64)
        empty = torch.empty(3, 0, 2), torch.empty(0, dtype=torch.int64)
        _pairwise_ops.pair_correct_(counts, *empty, False)
        logs = torch.ones(3, 3, dtype=torch.float64)
        _pairwise_ops.pair_logs_(logs, *empty, True)
    assert counts.eq(1).all()
    assert logs.eq(1).all()


@pytest.mark.parametrize(("backend", "schedules"), [("emulated", 60), ("race", 10), ("ptx", 10)])
def test_one_result_over_all_schedules(backend: str, schedules: int) -> None:
    logits, labels = inputs(3, 4, 35)
    predictions = logits.argmax(-1)

    def work() -> torch.Tensor:
        deltas = [nondet_ext.ensemble_delta(logits, labels, *case) for case in CASES]
        return torch.stack([*deltas, nondet_ext.disagreement(predictions)])

    expected = generic(work)
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            assert bits(work()) == expected, f"schedule {seed}"


@pytest.mark.usefixtures("threads", "cpu_isa")
@pytest.mark.parametrize("number", [1, 2])
def test_modes_of_the_caller_do_not_change_a_bit(number):
    torch.set_num_threads(number)
    logits, labels = inputs(3, 1100, 3)
    scaled = 30 * logits
    steps = torch.from_numpy(np.random.default_rng(1).integers(0, 9, logits.shape)).double()
    works = [
        *(lambda case=case: nondet_ext.ensemble_delta(scaled, labels, *case) for case in CASES),
        lambda: nondet_ext.ensemble_delta(subnormal, labels),
        lambda: nondet_ext.ensemble_delta(narrow, labels),
    ]
    # The logits of the classes differ only by subnormal numbers.
    subnormal, narrow = steps * 5e-324, (steps * 2.0**-149).float()
    expected = [generic(work) for work in works]
    assert any(np.frombuffer(expected[4]))
    assert expected[4] == expected[5]
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no flush-to-zero mode")
    try:
        assert [bits(work()) for work in works] == expected
    finally:
        torch.set_flush_denormal(False)


LOGITS, LABELS = torch.zeros(2, 3, 4), torch.tensor([0, 3, 1])
PREDICTIONS = torch.tensor([[0, 1, 2], [0, 2, 2]])


def with_value(value: float) -> torch.Tensor:
    logits = torch.zeros(2, 3, 4, dtype=torch.float64)
    logits[1, 2, 3] = value
    return logits


REFUSALS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: nondet_ext.ensemble_delta([1.0], LABELS), TypeError, "logits must be a torch.Tensor"),
    (lambda: nondet_ext.ensemble_delta(LOGITS.int(), LABELS), TypeError, "got torch.int32"),
    (lambda: nondet_ext.ensemble_delta(LOGITS[0], LABELS), ValueError, "got (3, 4)"),
    (lambda: nondet_ext.ensemble_delta(LOGITS[:0], LABELS), ValueError, "got (0, 3, 4)"),
    (lambda: nondet_ext.ensemble_delta(LOGITS[:, :0], LABELS[:0]), ValueError, "got (2, 0, 4)"),
    (lambda: nondet_ext.ensemble_delta(LOGITS[..., :0], LABELS), ValueError, "got (2, 3, 0)"),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, LABELS[:2]),
        ValueError,
        "labels must have shape (3",
    ),
    (lambda: nondet_ext.ensemble_delta(LOGITS, LABELS.float()), TypeError, "labels must hold int"),
    (lambda: nondet_ext.ensemble_delta(LOGITS, [0, 1, 2]), TypeError, "labels must be a torch."),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, torch.tensor([0, 4, -1])),
        ValueError,
        "labels must lie in [0, 4), got 4 at index 1",
    ),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, torch.tensor([0, 3, -1])),
        ValueError,
        "got -1 at index 2",
    ),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, LABELS, "top5"),
        ValueError,
        "metric must be 'accuracy', 'cross_entropy' or a function, got 'top5'",
    ),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, LABELS, space="odds"),
        ValueError,
        "space must be 'logits' or 'probabilities', got 'odds'",
    ),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, LABELS, lambda x, y: x.mean()),
        ValueError,
        "metric must return one value a pair, shape (3,), got ()",
    ),
    (
        lambda: nondet_ext.ensemble_delta(LOGITS, LABELS, lambda x, y: 0.5),
        TypeError,
        "metric must return a torch.Tensor, got float",
    ),
    (lambda: nondet_ext.disagreement(LOGITS), TypeError, "predictions must hold integers"),
    (lambda: nondet_ext.disagreement(LABELS), ValueError, "got (3,)"),
    (lambda: nondet_ext.disagreement(PREDICTIONS[:0]), ValueError, "got (0, 3)"),
    (lambda: nondet_ext.disagreement(PREDICTIONS[:, :0]), ValueError, "got (2, 0)"),
    (lambda: nondet_ext.disagreement(PREDICTIONS > 1), TypeError, "torch.bool"),
    (lambda: nondet_ext.churn(PREDICTIONS, LABELS[:2]), ValueError, "labels must have shape (3,)"),
    (lambda: nondet_ext.churn(PREDICTIONS, LABELS, 3), ValueError, "[0, 3), got 3 at index 1"),
    (lambda: nondet_ext.churn(PREDICTIONS, LABELS - 1), ValueError, "got -1 at index 0"),
    (lambda: nondet_ext.churn(PREDICTIONS, LABELS, 0), ValueError, "num_classes must be in [1"),
    (lambda: nondet_ext.error_overlap(PREDICTIONS, LABELS[None]), ValueError, "got (1, 3)"),
    (
        lambda: nondet_ext.error_overlap(PREDICTIONS, LABELS.to("meta")),
        ValueError,
        "labels must be on cpu",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSALS, ids=[text for *_, text in REFUSALS])
def test_refusals(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("metric", ["accuracy", "cross_entropy", lambda x, y: x[:, 0, 0]])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**1022, -(2.0**1022)])
def test_logits_that_are_not_finite_are_refused(metric, value):
    message = re.escape(f"got {value} at index (1, 2, 3)")
    with pytest.raises(ValueError, match=message):
        nondet_ext.ensemble_delta(with_value(value), LABELS, metric)
    assert nondet_ext.ensemble_delta(with_value(2.0**1021), LABELS, metric).isfinite().all()


def test_a_state_is_unchanged_by_a_refused_block():
    state = torch.ones(2, 2, dtype=torch.float64)
    for logits, labels in [(with_value(np.nan), LABELS), (LOGITS, LABELS + 1)]:
        with pytest.raises(ValueError, match="must"):
            _pairwise_ops.pair_logs_(state, logits, labels, False)
        assert state.tolist() == [[1, 1], [1, 1]]
    with pytest.raises(
        ValueError, match=re.escape("logs must be contiguous and have shape (2, 2)")
    ):
        _pairwise_ops.pair_logs_(torch.zeros(3, 3, dtype=torch.float64), LOGITS, LABELS, False)


def test_results_carry_no_gradient():
    logits = torch.randn(2, 3, 4, requires_grad=True)
    for metric in ("accuracy", "cross_entropy", lambda x, y: x[:, 0, 0]):
        assert not nondet_ext.ensemble_delta(logits, LABELS, metric).requires_grad
