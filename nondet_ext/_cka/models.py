"""Features of several models: checks, scaling, centring block by block."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from nondet_ext import _check

FEW_EXAMPLES = 64  # for fewer, float32 saves no time and its rounding errors average out less
MATMULS: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute matrix products in their dtype's precision: no TF32, bfloat16 or autocast."""
    before = [each.fp32_precision for each in MATMULS]
    try:
        for each in MATMULS:
            each.fp32_precision = "ieee"
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for each, precision in zip(MATMULS, before, strict=True):
            each.fp32_precision = precision


@dataclass(frozen=True)
class Features:
    """Features of models over the same examples.

    Attributes:
        tensors: one per model, (n, ...).
        names: the models' names in messages.
        left: the number of models in the rows of the result, the others being its columns; if all
            are, the result is square and symmetric.
    """

    tensors: list[torch.Tensor]
    names: list[str]
    left: int

    @property
    def n(self) -> int:
        return self.tensors[0].shape[0]

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    @property
    def widths(self) -> list[int]:
        return [math.prod(x.shape[1:]) for x in self.tensors]

    @property
    def rectangular(self) -> bool:
        return self.left < len(self.tensors)


def _models(name: str, value: object, stacked: bool) -> tuple[list[torch.Tensor], list[str]]:
    if isinstance(value, torch.Tensor):
        tensor = _check.float_tensor(name, value)
        _check.refuse_stray(name, tensor)
        if not stacked:
            return [tensor], [name]
        if tensor.ndim < 3:
            raise ValueError(
                f"{name} must be a sequence of tensors (examples, features) or one tensor "
                f"(models, examples, features), got a tensor of shape {tuple(tensor.shape)}"
            )
        if not len(tensor):
            raise ValueError(
                f"{name} must hold at least one model, got shape {tuple(tensor.shape)}"
            )
        value = tensor.unbind()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(
            f"{name} must be a tensor or a sequence of tensors, got {type(value).__name__}"
        )
    if not value:
        raise ValueError(f"{name} must hold at least one model, got an empty sequence")
    names = [f"{name}[{i}]" for i in range(len(value))]
    return [_check.float_tensor(each, x) for each, x in zip(names, value, strict=True)], names


def read_features(
    features: object, other: object, least: int, name: str = "features", other_name: str = "other"
) -> Features:
    """Return the features as checked tensors of at least `least` examples.

    Raises:
        TypeError, ValueError: the arguments are not features over the same examples.
    """
    tensors, names = _models(name, features, stacked=other is None)
    left = len(tensors)
    if other is not None:
        others, other_names = _models(other_name, other, stacked=False)
        tensors, names = tensors + others, names + other_names
    first = tensors[0]
    for each, x in zip(names, tensors, strict=True):
        if x.ndim < 2 or not math.prod(x.shape[1:]):
            raise ValueError(
                f"{each} must be (examples, features...) with at least one feature, "
                f"got shape {tuple(x.shape)}"
            )
        for quantity, mine, theirs in (
            ("number of examples", len(x), len(first)),
            ("dtype", x.dtype, first.dtype),
            ("device", x.device, first.device),
        ):
            if mine != theirs:
                raise ValueError(
                    f"all models must have the same {quantity}: {names[0]} has {theirs}, "
                    f"{each} has {mine}"
                )
    for each, x in zip(names, tensors, strict=True):
        _check.with_values(each, x)
    if len(first) < least:
        raise ValueError(f"{names[0]} must have at least {least} examples, got {len(first)}")
    _check.no_tangent(**dict(zip(names, tensors, strict=True)))
    return Features([x.detach() for x in tensors], names, left)


def refuse_not_finite(features: Features) -> list[float]:
    """Return the largest magnitude in each model's features.

    Raises:
        ValueError: a model has a NaN or an infinity; the message names it.
    """
    largest = []
    for name, x in zip(features.names, features.tensors, strict=True):
        low, high = (float(each) for each in torch.aminmax(x))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} has NaN or infinite features")
        largest.append(max(-low, high))
    return largest


def scale_of(largest: float) -> int:
    """Return e with largest / 2**e <= 1, clamped so that 2**e and 2**-e are float64 numbers."""
    return max(min(math.frexp(largest)[1], 1000), -1000)


class Centred:
    """Models' features, centred and scaled by a power of two to at most 2, which leaves CKA
    unchanged, in the dtype of the computation.

    The column means are subtracted in float64. Rounding the result to float32 changes HSIC in
    second order only: its two centrings cancel the first. The centred features are stored if they
    take at most `keep_below` bytes; otherwise each block is computed on request.
    """

    def __init__(self, features: Features, dtype: torch.dtype, keep_below: int = 0) -> None:
        self.features = features
        self.dtype = dtype
        device, n = features.device, features.n
        self.exponents = [scale_of(each) for each in refuse_not_finite(features)]
        self.constant: list[bool] = []
        self._means: list[torch.Tensor] = []
        self.squares = torch.empty(len(features.tensors), n, dtype=torch.float64, device=device)
        self._stored: list[torch.Tensor] | None = None
        if self.nbytes <= keep_below:
            self._stored = [
                torch.empty(n, width, dtype=dtype, device=device) for width in features.widths
            ]
        for model, x in enumerate(features.tensors):
            total = torch.zeros(features.widths[model], dtype=torch.float64, device=device)
            for rows in self._slices(model, 0, n):
                total += self._flat(model, rows).sum(0)
            self._means.append(total / n)
            self._measure(model)
            spread = float(self.squares[model].sum())
            # The mean of equal numbers can differ from them by an ulp.
            constant = spread <= 1e-24 * x.numel() and bool((x == x[:1]).all())
            self.constant.append(constant)
            if constant:
                self._means[model] = self._flat(model, slice(0, 1))[0]
                self.squares[model] = 0
                if self._stored is not None:
                    self._stored[model].zero_()

    @property
    def is_stored(self) -> bool:
        return self._stored is not None

    @property
    def nbytes(self) -> int:
        """Return the bytes of all centred features."""
        return self.features.n * sum(self.features.widths) * self.dtype.itemsize

    def _flat(self, model: int, rows: slice) -> torch.Tensor:
        x = self.features.tensors[model][rows].flatten(1).to(torch.float64, copy=True)
        return x.mul_(2.0 ** -self.exponents[model])

    def _slices(self, model: int, start: int, stop: int) -> Iterator[slice]:
        """Yield slices of rows that fit a cache as float64."""
        elements = 2**17 if self.features.device.type == "cpu" else 2**24
        step = max(elements // self.features.widths[model], 1)
        for begin in range(start, stop, step):
            yield slice(begin, min(begin + step, stop))

    def _centred(self, model: int, rows: slice) -> torch.Tensor:
        return self._flat(model, rows).sub_(self._means[model])

    def _measure(self, model: int) -> None:
        for rows in self._slices(model, 0, self.features.n):
            y = self._centred(model, rows)
            if self._stored is not None:
                self._stored[model][rows] = y
            self.squares[model, rows] = y.square_().sum(1)

    def rows(
        self, model: int, start: int, stop: int, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return centred features, (stop - start, p), written to `out` if it is given and they are
        not stored.
        """
        if self._stored is not None:
            return self._stored[model][start:stop]
        if out is None:
            out = torch.empty(
                stop - start,
                self.features.widths[model],
                dtype=self.dtype,
                device=self.features.device,
            )
        for rows in self._slices(model, start, stop):
            out[rows.start - start : rows.stop - start] = self._centred(model, rows)
        return out


def working_dtype(features: Features) -> torch.dtype:
    """Return float64 for float64 features and for few examples, else float32."""
    if features.tensors[0].dtype == torch.float64 or features.n < FEW_EXAMPLES:
        return torch.float64
    return torch.float32
