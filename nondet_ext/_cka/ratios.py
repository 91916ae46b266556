"""From HSIC to CKA, and linear_cka as a torch op. cka.py checks the arguments."""

from collections.abc import Sequence

import torch

from nondet_ext._cka.models import Features
from nondet_ext._cka.products import Hsic, hsic_pairs
from nondet_ext._float_mode import in_default_mode
from nondet_ext._op import Op
from nondet_ext._roots import square_root
from nondet_ext._warnings import warn_degenerate


def ratios(
    hsic: Hsic, names: Sequence[str], left: int, debiased: bool, within: str = ""
) -> torch.Tensor:
    """Return the CKA of all pairs of models, of which the first `left` are the rows, and warn of
    those for which it is NaN.
    """
    undefined = hsic.own <= hsic.noise
    roots = square_root(torch.where(undefined, torch.nan, hsic.own))
    square = left == len(roots)
    columns = roots if square else roots[left:]
    result = hsic.cross / roots[:left, None] / columns
    if not debiased:
        result = result.clamp(0, 1)
    if square:
        result.diagonal()[~undefined] = 1
        result = result.triu() + result.triu(1).T
    bad = undefined.tolist()
    flat = [name for name, u, c in zip(names, bad, hsic.constant, strict=True) if u and c]
    rest = [name for name, u, c in zip(names, bad, hsic.constant, strict=True) if u and not c]
    if flat:
        _warn(f"{', '.join(flat)}: the same for all examples{within}")
    if rest:
        _warn(f"{', '.join(rest)}: the debiased HSIC with itself is not positive")
    return result


def _warn(problem: str) -> None:
    warn_degenerate(f"{problem}; its CKA is NaN")


@in_default_mode
def _linear_cka(
    tensors: Sequence[torch.Tensor], names: str, left: int, debiased: bool, memory: int
) -> torch.Tensor:
    """Compute the CKA of models; `names` has one a line."""
    given = Features(list(tensors), names.split("\n"), left)
    return ratios(hsic_pairs(given, debiased, memory), given.names, left, debiased)


def _fake(
    tensors: Sequence[torch.Tensor], names: str, left: int, debiased: bool, memory: int
) -> torch.Tensor:
    columns = len(tensors) - left or left
    return tensors[0].new_empty((left, columns), dtype=torch.float64)


linear_cka = Op("linear_cka", _linear_cka, fake=_fake)
