"""Centred kernel alignment with linear kernels, of all pairs of models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from nondet_ext import _check
from nondet_ext._cka.batches import BatchSums
from nondet_ext._cka.exact import Moments
from nondet_ext._cka.models import Features, read_features
from nondet_ext._cka.ratios import linear_cka as linear_cka_op
from nondet_ext._cka.ratios import ratios
from nondet_ext._cka.totals import Totals
from nondet_ext._float_mode import in_default_mode
from nondet_ext.memory import parse_bytes

Estimator = Literal["biased", "debiased"]
_ESTIMATORS = ("biased", "debiased")
Models = torch.Tensor | Sequence[torch.Tensor]

_NOT_COMPILED = "its state depends on values of the features; call it outside"


def linear_cka(
    features: Models,
    other: Models | None = None,
    *,
    estimator: Estimator = "biased",
    memory: int | str = "1GB",
) -> torch.Tensor:
    """Compute the linear centred kernel alignment of all pairs of models.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) of K = X X^T and L = Y Y^T, features X and Y of
    two models over the same N examples. "biased" takes HSIC_0 = tr(K H L H) / (N - 1)^2 with
    H = I - 1/N (Kornblith et al. 2019, section 3), so that CKA is in [0, 1] but far from 0 for
    unrelated features unless N is much larger than their numbers. "debiased" takes HSIC_1, the
    unbiased estimator (Song et al. 2012, eq. 5; for CKA: Nguyen, Raghu and Kornblith 2021,
    section 3), whose CKA is about 0 for unrelated features and can be negative.

    Equivalent to, for two float64 matrices that are centred, "biased":
    ``(x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())``.

    Args:
        features: alone, R models: a sequence of tensors (N, ...), or one tensor (R, N, ...) of at
            least three dimensions. With `other`, a tensor is one model. float64, float32, float16
            or bfloat16, one dtype for all; more than two dimensions are flattened to
            (N, features), as Kornblith et al. do with convolutions' outputs.
        other: a tensor (N, ...) or a sequence of them, to compare `features` with.
        estimator: "biased" (N >= 2) or "debiased" (N >= 4).
        memory: bytes, or a string such as "500MB", for the blocks of the computation, in addition
            to the features and results. Its size changes the result by rounding only.

    Returns:
        float64 on the features' device: (R, R), symmetric with a diagonal of exactly 1; with
        `other` (R1, R2), or a scalar tensor where both are tensors. Biased values are clipped to
        [0, 1], which only rounding can leave. NaN for a model that does not vary over the
        examples, or whose debiased HSIC with itself is not positive.

    Accuracy: within 1e-6 of the definition evaluated in float64. Features of float32 and less are
    multiplied in full float32 (TF32 and autocast are off meanwhile), in bounded pieces whose sums
    are float64; float64 features, and fewer than 64 examples, in float64 throughout. Either all
    Gram matrices or all cross products of features are computed once, whichever takes less work.
    There is no derivative: features that require grad are detached.

    Warns:
        DegenerateInputWarning: names the models whose results are NaN.

    Raises:
        TypeError: `features` or `other` is neither a tensor nor a sequence of tensors, or has an
            unsupported dtype.
        ValueError: models differ in examples, dtype or device; there are no features or too few
            examples; features are NaN or infinite; the estimator is unknown; `memory` is less than
            the smallest blocks take.
    """
    debiased = _is_debiased(estimator)
    size = parse_bytes("memory", memory)
    given = read_features(features, other, 4 if debiased else 2)
    names = "\n".join(given.names)
    result = linear_cka_op(given.tensors, names, given.left, debiased, size)
    both_tensors = isinstance(features, torch.Tensor) and isinstance(other, torch.Tensor)
    return result[0, 0] if both_tensors else result


def _is_debiased(estimator: object) -> bool:
    if estimator not in _ESTIMATORS:
        raise _check.unknown_choice("estimator", estimator, _ESTIMATORS)
    return estimator == "debiased"


@dataclass
class _Layer:
    """The models of a layer of an accumulator, and their totals."""

    names: list[str]
    widths: list[int]
    left: int
    scalar: bool
    totals: Totals


class CKA:
    """Linear CKA of all pairs of models from minibatches, of one layer or of several.

    By default the minibatch estimator of Nguyen, Raghu and Kornblith (2021, section 3): HSIC_1 is
    averaged over batches before the ratio is taken. The expectation of each HSIC does not depend
    on the batch size; batches are weighted by their examples. State: three values a pair.

    ``exact=True`` keeps the cross products of all features instead, (sum of p)^2 float64 numbers a
    layer, so that ``compute()`` is ``linear_cka`` of all examples up to rounding, whatever the
    batches; biased too, and batches may have any size from 1.

        cka = CKA()
        for batch in loader:
            cka.update([model(batch) for model in models])
        similarity = cka.compute()  # (models, models)

    Args:
        estimator: "debiased"; "biased" only with `exact`, for its minibatch form would depend on
            the batch size.
        exact: keep the moments that the exact result needs.
        memory: bytes, or a string such as "500MB", for the blocks of one update, as in
            :func:`linear_cka`, or with `exact`, for the state of a layer.

    Update and compute raise RuntimeError in code that ``torch.compile`` traces, because the state
    depends on values of the features; compile the models alone, or :func:`linear_cka`.
    """

    def __init__(
        self,
        estimator: Estimator = "debiased",
        *,
        exact: bool = False,
        memory: int | str = "1GB",
    ) -> None:
        self.estimator = estimator
        self.exact = exact
        self._debiased = _is_debiased(estimator)
        if not (self._debiased or exact):
            raise ValueError(
                'estimator="biased" needs exact=True: averaged over batches, the biased estimator '
                "would depend on their size"
            )
        self._memory = parse_bytes("memory", memory)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._layers: dict[str, _Layer] = {}
        self._several = False

    @in_default_mode
    def update(
        self,
        features: Models | Mapping[str, Models],
        other: Models | Mapping[str, Models] | None = None,
    ) -> None:
        """Add a batch. A batch that raises an error changes nothing.

        Args:
            features, other: as in :func:`linear_cka`, over the examples of a batch (at least 4,
                or with `exact` 1); or dicts from layers to such features.

        Raises:
            TypeError, ValueError: as :func:`linear_cka`; or layers, models or their widths
                differ from those of the previous batches.
        """
        _check.not_compiling("CKA.update", _NOT_COMPILED)
        several = isinstance(features, Mapping)
        if other is not None and isinstance(other, Mapping) != several:
            raise TypeError("features and other must both be dicts of layers, or neither")
        layers: Mapping[str, Any] = features if isinstance(features, Mapping) else {"": features}
        others: Mapping[str, Any] = other if isinstance(other, Mapping) else {"": other}
        if several and not layers:
            raise ValueError("features must hold at least one layer, got an empty dict")
        if other is not None and layers.keys() != others.keys():
            raise ValueError(f"other must have the layers {list(layers)}, got {list(others)}")
        if self._layers and (several != self._several or layers.keys() != self._layers.keys()):
            raise ValueError(
                f"the layers must stay {list(self._layers)}, got {list(layers)}"
                if several and self._several
                else "features must stay a dict of layers, or stay without layers"
            )
        batches = {
            key: self._check_batch(key, layers[key], others.get(key), several) for key in layers
        }
        measured = [layer.totals.measure(batch, self._memory) for layer, batch in batches.values()]
        for (layer, batch), each in zip(batches.values(), measured, strict=True):
            layer.totals.add(batch, each)
        self._several = several
        self._layers = {key: layer for key, (layer, _) in batches.items()}

    def _check_batch(
        self, key: str, features: Models, other: Models | None, several: bool
    ) -> tuple[_Layer, Features]:
        where = f"[{key!r}]" if several else ""
        least = 1 if self.exact else 4
        batch = read_features(features, other, least, f"features{where}", f"other{where}")
        scalar = isinstance(features, torch.Tensor) and isinstance(other, torch.Tensor)
        layer = self._layers.get(key)
        if layer is None:
            return self._new(batch.names, batch.widths, batch.left, scalar), batch
        if (batch.names, batch.left, scalar) != (layer.names, layer.left, layer.scalar):
            raise ValueError(
                f"the models must stay {', '.join(layer.names)}, got {', '.join(batch.names)}"
            )
        for name, mine, theirs in zip(batch.names, batch.widths, layer.widths, strict=True):
            if mine != theirs:
                raise ValueError(f"{name} must stay {theirs} features wide, got {mine}")
        return layer, batch

    def _new(self, names: list[str], widths: list[int], left: int, scalar: bool) -> _Layer:
        if self.exact and Moments.nbytes(widths) > self._memory:
            raise ValueError(
                f"memory must be at least {Moments.nbytes(widths)} bytes for the exact CKA of "
                f"{sum(widths)} features; the estimate from minibatches (exact=False) has no such "
                "state"
            )
        totals = (Moments if self.exact else BatchSums)(widths, left)
        return _Layer(names, widths, left, scalar, totals)

    @in_default_mode
    def compute(self) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the CKA of the batches so far, as :func:`linear_cka` does; of several layers, a
        dict from layers to tensors.

        Raises:
            RuntimeError: no batch was added.
            ValueError: too few examples (2 biased, 4 debiased).
        """
        _check.not_compiling("CKA.compute", _NOT_COMPILED)
        if not self._layers:
            raise RuntimeError("compute() needs at least one update()")
        least = 4 if self._debiased else 2
        results = {}
        for key, layer in self._layers.items():
            if layer.totals.n < least:
                raise ValueError(
                    f"CKA needs at least {least} examples, the updates had {layer.totals.n}"
                )
            hsic = layer.totals.hsic(self._debiased)
            within = "" if self.exact else " of each batch"
            result = ratios(hsic, layer.names, layer.left, self._debiased, within)
            results[key] = result[0, 0] if layer.scalar else result
        return results if self._several else results[""]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all totals: numbers, strings and float64 tensors, for ``torch.save``."""
        layers = {
            key: {
                "names": list(layer.names),
                "widths": list(layer.widths),
                "left": layer.left,
                "scalar": layer.scalar,
                "totals": layer.totals.state(),
            }
            for key, layer in self._layers.items()
        }
        return {
            "estimator": self.estimator,
            "exact": self.exact,
            "several": self._several,
            "layers": layers,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state, which must have the same estimator and `exact`."""
        for name in ("estimator", "exact"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"the state must be of {name}={getattr(self, name)!r}, got {state[name]!r}"
                )
        layers = {}
        for key, each in state["layers"].items():
            layer = self._new(
                list(each["names"]), list(each["widths"]), each["left"], each["scalar"]
            )
            layer.totals.load(each["totals"])
            layers[key] = layer
        self._layers = layers
        self._several = state["several"]
