"""The common part of CKA's accumulators: totals over batches, saved and loaded."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from nondet_ext._cka.models import Features
from nondet_ext._cka.products import Hsic


class Totals:
    """Named float64 tensors, their number of examples, and for each model the power of two that
    divides its features and whether it has varied.
    """

    TENSORS: ClassVar[tuple[str, ...]]

    def __init__(self, widths: list[int], left: int) -> None:
        self.widths = widths
        self.left = left
        self.n = 0
        self.exponents = [0] * len(widths)
        self.varies = [False] * len(widths)

    @property
    def constant(self) -> list[bool]:
        return [not varies for varies in self.varies]

    def measure(self, batch: Features, memory: int) -> Hsic | None:
        """Check a batch and return what :meth:`add` needs; change nothing."""
        raise NotImplementedError

    def add(self, batch: Features, measured: Hsic | None) -> None:
        """Add a batch that :meth:`measure` has checked."""
        raise NotImplementedError

    def hsic(self, debiased: bool) -> Hsic:
        """Return the HSIC of all batches."""
        raise NotImplementedError

    def move(self, device: torch.device) -> None:
        for name in self.TENSORS:
            setattr(self, name, getattr(self, name).to(device))

    def note_variation(self, varies: list[bool]) -> None:
        self.varies = [a or b for a, b in zip(self.varies, varies, strict=True)]

    def state(self) -> dict[str, Any]:
        numbers = {"n": self.n, "exponents": list(self.exponents), "varies": list(self.varies)}
        return numbers | {name: getattr(self, name).clone() for name in self.TENSORS}

    def load(self, state: Mapping[str, Any]) -> None:
        for name in self.TENSORS:
            value, shape = state[name], tuple(getattr(self, name).shape)
            if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape:
                raise ValueError(f"state[{name!r}] must be a tensor of shape {shape}")
        for name in self.TENSORS:
            setattr(self, name, state[name].to(torch.float64, copy=True))
        self.n = int(state["n"])
        self.exponents = [int(each) for each in state["exponents"]]
        self.varies = [bool(each) for each in state["varies"]]
