"""Comparisons of all pairs of models as torch ops: narrow integers, choice of the kernel,
workspaces, and the checks of values, which compiled code needs too. pairwise.py checks the
arguments.

The ensemble ops add a block of examples to a state, of which only the upper triangle is used.
"""

from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._float_mode import in_default_mode
from nondet_ext._op import Op
from nondet_ext._sorting import stable_sort
from nondet_ext._warnings import warn_degenerate

EXAMPLE_TILE = 1024
"""kExampleTile of csrc/numerics/pairwise.h."""

MOST_CLASSES = 2**31 - 1

LARGEST_LOGIT = 2.0**1022
"""Sums and differences of two logits below it are finite."""

_WAVE_BYTES = 64 << 20  # the logarithms of tiles that one launch writes

CORRECT_TILE = 64
"""kCorrectTile of csrc/cuda/pairwise.cuh."""

_ENOUGH_BLOCKS = 128  # about as many as a large GPU has multiprocessors


def symmetric(upper: torch.Tensor) -> torch.Tensor:
    """Return the matrices (..., R, R) with the upper triangle copied to the lower one."""
    return torch.triu(upper) + torch.triu(upper, 1).mT


def narrowed(predictions: torch.Tensor) -> torch.Tensor:
    """Return contiguous integers that are equal where `predictions` are, in as few bytes as their
    range needs.
    """
    low, high = (int(bound) for bound in predictions.aminmax())
    size = predictions.itemsize
    if size > 1 and high - low < 2**8:
        return (predictions - low).to(torch.uint8).contiguous()
    if size > 2 and high - low < 2**16:
        return (predictions - low - 2**15).to(torch.int16).contiguous()
    if size > 4 and high - low < 2**32:
        return (predictions - low - 2**31).to(torch.int32).contiguous()
    return predictions.contiguous()


def _pair_agreements(predictions: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Count the examples [offsets[s], offsets[s + 1]) at which two rows of `predictions` (R, N) are
    equal, (S, R, R) int64.
    """
    models, examples = predictions.shape
    fits = (offsets[0] >= 0) & (offsets[-1] <= examples) & (offsets[1:] >= offsets[:-1]).all()
    if not bool(fits):
        raise ValueError(f"offsets must not decrease and lie in [0, {examples}]")
    segments = offsets.numel() - 1
    out = predictions.new_zeros((segments, models, models), dtype=torch.int64)
    if out.numel() == 0 or examples == 0:
        return out
    narrow, bounds = narrowed(predictions), offsets.contiguous()
    backend_for(predictions).run(
        "pair_agreements",
        itemsize=narrow.itemsize,
        predictions=narrow.data_ptr(),
        models=models,
        examples=examples,
        offsets=bounds.data_ptr(),
        segments=segments,
        out=out.data_ptr(),
    )
    return symmetric(out)


def _class_count(labels: torch.Tensor) -> int:
    """Return one more than the largest label, at least 1."""
    largest = int(labels.max())
    if largest >= MOST_CLASSES:
        raise ValueError(f"labels must lie in [0, {MOST_CLASSES}), got {largest}")
    return max(largest + 1, 1)


@in_default_mode
def _churn(predictions: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Compute the disagreement among the examples of each class, (classes, R, R) float64."""
    refuse_bad_labels(labels, classes)
    launches = backend_for(labels).launches
    by_class, order = stable_sort(labels, "labels", launches=launches)
    offsets = torch.searchsorted(by_class, torch.arange(classes + 1, device=labels.device))
    sizes = offsets.diff()
    absent = (sizes == 0).nonzero().reshape(-1).tolist()
    if absent:
        warn_degenerate(
            f"no example has the label {_some(absent)}; the churn of such a class is NaN"
        )
    agreeing = pair_agreements(predictions[:, order], offsets)
    totals = sizes[:, None, None]
    return (totals - agreeing).to(torch.float64) / totals


@in_default_mode
def _error_overlap(predictions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the Jaccard index of the errors of every two models, (R, R) float64."""
    examples = predictions.shape[1]
    wrong = predictions != labels
    errors = wrong.sum(1)
    flawless = (errors == 0).nonzero().reshape(-1).tolist()
    if flawless:
        warn_degenerate(
            f"model {_some(flawless)} makes no error; where both do not, the overlap is NaN"
        )
    total = errors[:, None] + errors[None, :]
    bounds = torch.tensor([0, examples], device=wrong.device)
    agreeing = pair_agreements(wrong.to(torch.uint8), bounds)[0]
    both = (agreeing - examples + total) // 2
    return both.to(torch.float64) / (total - both)


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (" ..." if len(numbers) > 10 else "")


def refuse_bad_labels(labels: torch.Tensor, classes: int) -> None:
    bad = (labels < 0) | (labels >= classes)
    if bool(bad.any()):
        first = int(bad.to(torch.uint8).argmax())
        raise ValueError(
            f"labels must lie in [0, {classes}), got {int(labels[first])} at index {first}"
        )


def refuse_bad_logits(logits: torch.Tensor) -> None:
    low, high = (float(bound) for bound in logits.aminmax())
    if -LARGEST_LOGIT < low <= high < LARGEST_LOGIT:  # false for NaN
        return
    for model, rows in enumerate(logits):
        bad = ~((rows > -LARGEST_LOGIT) & (rows < LARGEST_LOGIT))
        if bool(bad.any()):
            example, c = divmod(int(bad.reshape(-1).to(torch.uint8).argmax()), rows.shape[1])
            raise ValueError(
                "logits must be finite and below 2^1022 in size, "
                f"got {float(rows[example, c])} at index ({model}, {example}, {c})"
            )


def _refuse_bad_examples(result: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Check values. The op declares that it changes `result`, which it does not: otherwise
    compiled code would leave it out.
    """
    refuse_bad_labels(labels, logits.shape[2])
    refuse_bad_logits(logits)


def _side(models: int, layers: int) -> int:
    """Return how many models a block of threads compares with as many others, in a launch that
    divides the examples into `layers`. More models need fewer exponentials and loads for each pair;
    fewer make more blocks, each of which goes through its examples one by one.
    """
    for side in (64, 32):
        blocks = -(-models // side)
        if 2 * models > side and blocks * (blocks + 1) // 2 * layers >= _ENOUGH_BLOCKS:
            return side
    return 16


def _add(
    kernel: str,
    state: dict[str, torch.Tensor],
    logits: torch.Tensor,
    labels: torch.Tensor,
    probabilities: bool,
) -> None:
    models, examples, classes = logits.shape
    ((name, sums),) = state.items()
    if sums.shape != (models, models) or not sums.is_contiguous():
        raise ValueError(
            f"{name} must be contiguous and have shape ({models}, {models}), "
            f"got shape {tuple(sums.shape)}"
        )
    if logits.numel() == 0:
        return
    refuse_bad_labels(labels, classes)
    refuse_bad_logits(logits)
    values, targets = logits.resolve_neg(), labels.to(torch.int64).contiguous()
    arguments: dict[str, Any] = {
        "dtype": NATIVE_DTYPE[logits.dtype],
        "x": values.data_ptr(),
        "models": models,
        "examples": examples,
        "classes": classes,
        "strides": list(values.stride()),
        "labels": targets.data_ptr(),
        "probabilities": probabilities,
        name: sums.data_ptr(),
    }
    backend = backend_for(logits)
    if not backend.launches:
        backend.run(kernel, **arguments)
        return
    tiles, layers = 0, -(-examples // CORRECT_TILE)
    if name == "logs":
        layers = -(-examples // EXAMPLE_TILE)
        tiles = min(layers, max(1, _WAVE_BYTES // (8 * models**2)))
        arguments["wave"] = tiles
    arguments["side"] = _side(models, tiles or layers)
    # Each model's largest logit and softmax denominator at each example; the tiles' logarithms.
    size = 2 * models * examples + tiles * models**2
    workspace = torch.empty(size, dtype=torch.float64, device=logits.device)
    backend.run(kernel, **arguments, workspace=workspace.data_ptr())


def _pair_correct_(
    counts: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, probabilities: bool
) -> None:
    """Add to `counts` (R, R) int64 the examples at which the mean of two models is right."""
    _add("pair_correct", {"counts": counts}, logits, labels, probabilities)


def _pair_logs_(
    logs: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, probabilities: bool
) -> None:
    """Add to `logs` (R, R) float64, one tile of examples after another, the logarithms of sum_c
    exp((a_c - max a + b_c - max b) / 2), or with `probabilities`, of the sum of the label's two
    probabilities.
    """
    _add("pair_logs", {"logs": logs}, logits, labels, probabilities)


def _fake_agreements(predictions: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    models = predictions.shape[0]
    return predictions.new_empty((offsets.shape[0] - 1, models, models), dtype=torch.int64)


def _fake_churn(predictions: torch.Tensor, labels: object, classes: int) -> torch.Tensor:
    models = predictions.shape[0]
    return predictions.new_empty((classes, models, models), dtype=torch.float64)


def _fake_overlap(predictions: torch.Tensor, labels: object) -> torch.Tensor:
    models = predictions.shape[0]
    return predictions.new_empty((models, models), dtype=torch.float64)


class_count = Op(
    "class_count", _class_count, fake=lambda _: torch.library.get_ctx().new_dynamic_size(min=1)
)
churn = Op("churn", _churn, fake=_fake_churn)
error_overlap = Op("error_overlap", _error_overlap, fake=_fake_overlap)
refuse_bad_examples = Op("refuse_bad_examples", _refuse_bad_examples, mutates=("result",))
pair_agreements = Op("pair_agreements", _pair_agreements, fake=_fake_agreements)
pair_correct_ = Op("pair_correct_", _pair_correct_, mutates=("counts",))
pair_logs_ = Op("pair_logs_", _pair_logs_, mutates=("logs",))
