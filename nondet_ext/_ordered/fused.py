"""The steps of fused optimizers, equal for every element of some value."""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from nondet_ext._ordered.pieces import STEP, extended, flatten


def step(
    op: Any,
    names: Sequence[str],
    written: Collection[str],
    args: tuple[Sequence[torch.Tensor], ...],
    kwargs: dict[str, Any],
) -> None:
    """Make the step of a fused optimizer, whose arguments `args` are lists called `names`.

    Torch shares out whole cache lines of a parameter, so only its end has a rest. The operator gets
    all but the ends, then the ends, extended.
    """
    vectors = {
        at: [flatten(each, each.shape, None) for each in column]
        for at, column in enumerate(args)
        if column and names[at] != "state_steps"
    }
    for cut in (_whole_steps, _end):
        chosen = [i for i, each in enumerate(vectors[0]) if len(cut(each))]
        if not chosen:
            continue
        parts = {at: [cut(column[i]) for i in chosen] for at, column in vectors.items()}
        longer = {
            at: [extended(each, -len(each) % STEP) for each in column]
            for at, column in parts.items()
        }
        rest = [[column[i] for i in chosen] if column else column for column in args]
        op(*(longer.get(at, column) for at, column in enumerate(rest)), **kwargs)
        for at in parts:
            if names[at] in written and cut is _end:
                for part, each in zip(parts[at], longer[at], strict=True):
                    part.copy_(each.narrow(0, 0, len(part)))
    for at, column in vectors.items():
        if names[at] in written:
            for target, vector in zip(args[at], column, strict=True):
                if vector.data_ptr() != target.data_ptr():
                    target.copy_(vector.view(target.shape))


def _whole_steps(vector: torch.Tensor) -> torch.Tensor:
    return vector.narrow(0, 0, len(vector) // STEP * STEP)


def _end(vector: torch.Tensor) -> torch.Tensor:
    rest = len(vector) % STEP
    return vector.narrow(0, len(vector) - rest, rest)
