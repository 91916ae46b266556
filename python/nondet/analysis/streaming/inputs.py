"""Check the arguments of `measure`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nondet.analysis.streaming.similarity import LEAST
from nondet.analysis.streaming.source import Source, shape_of
from nondet.names import alternatives

_ENSEMBLES = ("probabilities", "logits")


@dataclass(frozen=True, eq=False)
class Inputs:
    """Checked arguments of `measure`.

    Attributes:
        shape: (N, V).
        labels: (N,) int64.
        log_probabilities: (R, N) float64.
        predicted: (R, N) int64 or narrower.
        keys: of the models, or empty.
    """

    shape: tuple[int, int]
    labels: np.ndarray
    log_probabilities: np.ndarray
    predicted: np.ndarray
    ensemble: str
    keys: list[str]

    @property
    def models(self) -> int:
        """Return R."""
        return len(self.log_probabilities)

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes these inputs from others, as JSON types."""
        arrays = ("labels", "log_probabilities", "predicted")
        digests = {name: _digest(getattr(self, name)) for name in arrays}
        return {"keys": self.keys, "ensemble": self.ensemble, **digests}


def read_inputs(
    sources: Sequence[Source],
    labels: object,
    log_probabilities: object,
    predicted: object,
    ensemble: str,
    keys: Sequence[str] | None,
) -> Inputs:
    """Return the checked arguments of `measure` of these names; raises as it does."""
    shape = shape_of(sources)
    models, (tokens, types) = len(sources), shape
    if tokens < LEAST:
        raise ValueError(f"sources must have at least {LEAST} tokens, for CKA, got {tokens}")
    if ensemble not in _ENSEMBLES:
        raise ValueError(f"ensemble is {ensemble!r}; {alternatives(ensemble, _ENSEMBLES)}")
    names = [] if keys is None else [str(key) for key in keys]
    if keys is not None and len(names) != models:
        raise ValueError(f"keys must be {models}, one for each source, got {len(names)}")
    chances = _array("log_probabilities", log_probabilities, (models, tokens))
    if chances.dtype != np.float64:
        raise TypeError(f"log_probabilities must hold float64, got {chances.dtype}")
    bad = ~np.isfinite(chances)
    if bad.any():
        model, token = np.argwhere(bad)[0]
        raise ValueError(
            f"log_probabilities must be finite, got {chances[model, token]} at [{model}, {token}]"
        )
    return Inputs(
        shape=shape,
        labels=_types("labels", labels, (tokens,), types).astype(np.int64),
        log_probabilities=chances,
        predicted=_types("predicted", predicted, (models, tokens), types),
        ensemble=ensemble,
        keys=names,
    )


def _array(name: str, value: object, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(value).__name__}")
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    return np.require(value, requirements=["C", "W"])


def _types(name: str, value: object, shape: tuple[int, ...], types: int) -> np.ndarray:
    array = _array(name, value, shape)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= types:
        raise ValueError(f"{name} must lie in [0, {types}), got {low}..{high}")
    return array.astype(np.int32 if types <= 2**31 else np.int64, copy=False)


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()
