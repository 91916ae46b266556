"""Check that a state fits the training that is to continue from it."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nondet.schemas import SchemaError, check
from nondet.training.checkpoint_files import Record


def check_tensors(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError unless tensors have the names, shapes and dtypes of others."""
    for names, problem in (
        (expected.keys() - found.keys(), "it lacks"),
        (found.keys() - expected.keys(), "this training has no"),
    ):
        if names:
            raise ValueError(f"the checkpoint does not fit: {problem} {_short(sorted(names))}")
    for name, tensor in expected.items():
        given = found[name]
        if given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise ValueError(
                f"the checkpoint does not fit: {name!r} is {given.dtype} of shape "
                f"{tuple(given.shape)}; expected {tensor.dtype} of shape {tuple(tensor.shape)}"
            )


def check_record(
    record: Mapping[str, Any],
    step: int,
    epoch_ends: Sequence[int],
    perturbation_step: int | None,
) -> Record:
    """Return the record of a state after `step` steps.

    epoch_ends, perturbation_step: of the training (`Training`). Raises ValueError if the record has
    another shape, or its epochs or perturbations are not those that the training has had by then.
    """
    try:
        checked = check(Record, dict(record))
    except SchemaError as error:
        raise ValueError(f"the checkpoint does not fit: in its record, {error}") from error
    epochs = [entry["epoch"] for entry in checked["history"]]
    done = bisect_right(epoch_ends, step)
    if epochs != list(range(1, done + 1)):
        raise ValueError(
            f"the checkpoint does not fit: its history has the epochs {_short(epochs)}; after step "
            f"{step} it has the first {done}"
        )
    due = [] if perturbation_step is None or step <= perturbation_step else [perturbation_step]
    made = [entry["step"] for entry in checked["perturbations"]]
    if made != due:
        raise ValueError(
            f"the checkpoint does not fit: its perturbations are of the steps {_short(made)}; by "
            f"step {step} this training has those of {_short(due)}"
        )
    return checked


def _short(values: Sequence[object]) -> str:
    """Return the first few values as text, and the number of the others."""
    more = f" and {len(values) - 4} more" if len(values) > 4 else ""
    return (", ".join(map(str, values[:4])) or "none") + more
