"""Digests of comparisons of models: ranks, correlations, predictions, CKA.

CKA uses torch's matrix products, whose rounding depends on the library. Its inputs are therefore
small whole numbers for which every product and sum is exact in any order; only single divisions and
square roots are rounded, as IEEE 754 specifies.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nondet_ext
from nondet.checking.digests.cases import Case
from nondet.checking.digests.inputs import (
    FLOATS,
    floats,
    integers,
    place,
    specials,
    strided,
    tensor,
)

POLICIES = ("propagate", "omit")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")


def ranks() -> Iterator[Case]:
    """Yield ranks and rank correlations of files."""
    for dtype in FLOATS:
        x = _ties(dtype, 5, 1031, seed=1)
        inputs = {
            "contiguous": x,
            "distinct": floats(dtype, 3, 4099, seed=2),
            "strided": strided(x),
            "1-d": x[0],
            "3-d": x[:, :1000].reshape(5, 10, 100),
            "one": x[:, :1],
            "no-columns": x[:, :0],
            "no-rows": x[:0],
            "specials": _comparable(dtype),
        }
        for kind, values in inputs.items():
            yield f"rankdata/{dtype}/raise/{kind}", partial(nondet_ext.rankdata, values)
        for policy in POLICIES:
            rank = partial(nondet_ext.rankdata, nan_policy=policy)
            yield f"rankdata/{dtype}/{policy}/contiguous", partial(rank, _holes(dtype))
            yield f"rankdata/{dtype}/{policy}/specials", partial(rank, specials(dtype))
    for dtype in INTEGERS:
        whole = integers(0, 100, 5, 1031, seed=3).to(getattr(torch, dtype))
        yield f"rankdata/{dtype}/contiguous", partial(nondet_ext.rankdata, whole)
        yield f"rankdata/{dtype}/strided", partial(nondet_ext.rankdata, whole[:, ::3])
    truths = integers(0, 2, 5, 1031, seed=4) > 0
    yield "rankdata/bool/contiguous", partial(nondet_ext.rankdata, truths)
    if place().type != "cpu":  # of arrays and files, which no device computes
        return
    for dtype in ("float64", "float32", "float16"):
        rows = _ties(dtype, 4, 5003, seed=5).numpy()
        # The limit includes what the process holds already, after many tests more than the default.
        correlate = partial(nondet_ext.spearman_files, memory="16GB")
        yield f"spearman_files/{dtype}/arrays", partial(correlate, list(rows))
        yield f"spearman_files/{dtype}/paths", partial(_files, rows)
        constant = [rows[0], np.zeros_like(rows[0]), rows[1]]
        yield f"spearman_files/{dtype}/constant", partial(correlate, constant)


def correlations() -> Iterator[Case]:
    """Yield Spearman's and Pearson's correlations of all pairs of rows."""
    for op in (nondet_ext.spearman, nondet_ext.pearson):
        for dtype in FLOATS:
            x, y = _ties(dtype, 6, 1031, seed=6), floats(dtype, 4, 1031, seed=7)
            constant = torch.cat([x[:2], torch.ones_like(x[:1])])
            inputs: dict[str, tuple[torch.Tensor, ...]] = {
                "rows": (x,),
                "two": (x, y),
                "strided": (strided(x), strided(y)),
                "3-d": (x[:, :1000].reshape(6, 100, 10), y[:, :1000].reshape(4, 100, 10)),
                "long": (floats(dtype, 3, 70_001, seed=8),),
                "short": (x[:, :2],),
                "constant": (constant,),
                "one": (y[:1],),
            }
            for kind, given in inputs.items():
                yield f"{op.__name__}/{dtype}/raise/{kind}", partial(op, *given)
            for policy in POLICIES:
                correlate = partial(op, nan_policy=policy)
                yield f"{op.__name__}/{dtype}/{policy}/rows", partial(correlate, _holes(dtype))
                pair = _holes(dtype)[:, :32], specials(dtype).reshape(1, 32)
                yield f"{op.__name__}/{dtype}/{policy}/specials", partial(correlate, *pair)
        for dtype in INTEGERS:
            whole = integers(0, 100, 5, 1031, seed=9).to(getattr(torch, dtype))
            yield f"{op.__name__}/{dtype}/raise/rows", partial(op, whole)


def predictions() -> Iterator[Case]:
    """Yield disagreement, churn, shared errors, and the effect of averaging two models."""
    labels = integers(0, 7, 2051, seed=11)
    guesses = torch.where(integers(0, 3, 6, 2051, seed=12) > 0, labels, integers(0, 7, 1, seed=13))
    perfect = torch.cat([guesses, labels[None]])
    for dtype in INTEGERS:
        made = guesses.to(getattr(torch, dtype))
        truth = labels.to(getattr(torch, dtype))
        yield f"disagreement/{dtype}/contiguous", partial(nondet_ext.disagreement, made)
        yield f"disagreement/{dtype}/strided", partial(nondet_ext.disagreement, made[::2, ::3])
        yield f"churn/{dtype}/contiguous", partial(nondet_ext.churn, made, truth)
        yield f"error_overlap/{dtype}/contiguous", partial(nondet_ext.error_overlap, made, truth)
    yield "churn/int64/absent-classes", partial(nondet_ext.churn, guesses, labels, 9)
    yield "churn/int64/strided", partial(nondet_ext.churn, guesses[:, ::3], labels[::3])
    yield "error_overlap/int64/perfect", partial(nondet_ext.error_overlap, perfect, labels)
    for dtype in FLOATS:
        logits = floats(dtype, 5, 2051, 7, seed=14)
        tied = integers(-2, 3, 4, 300, 7, seed=15).to(logits.dtype)
        for metric in ("accuracy", "cross_entropy"):
            for space in ("logits", "probabilities"):
                delta = partial(nondet_ext.ensemble_delta, metric=metric, space=space)
                prefix = f"ensemble_delta/{dtype}/{metric}/{space}"
                yield f"{prefix}/contiguous", partial(delta, logits, labels)
                yield f"{prefix}/strided", partial(delta, strided(logits), labels)
                yield f"{prefix}/ties", partial(delta, tied, labels[:300])
        own = partial(nondet_ext.ensemble_delta, metric=_correct)
        yield f"ensemble_delta/{dtype}/function/logits/ties", partial(own, tied, labels[:300])


def similarities() -> Iterator[Case]:
    """Yield linear CKA of whole numbers, at once and from minibatches."""
    for dtype in FLOATS:
        few = [_whole(dtype, 256, width, seed=21 + width) for width in (3, 5, 8)]
        wide = [_balanced(dtype, seed) for seed in (31, 32, 33)]
        for estimator in ("biased", "debiased"):
            cka = partial(nondet_ext.linear_cka, estimator=estimator)
            prefix = f"linear_cka/{dtype}/{estimator}"
            yield f"{prefix}/features", partial(cka, few)
            yield f"{prefix}/gram", partial(cka, wide)
            yield f"{prefix}/stacked", partial(cka, torch.stack(wide))
            yield f"{prefix}/other", partial(cka, few[:2], few[1:])
            yield f"{prefix}/pair", partial(cka, few[0], few[1])
            yield f"{prefix}/maps", partial(cka, [x.reshape(256, -1, 1) for x in few])
            yield f"{prefix}/constant", partial(cka, [few[0], torch.ones_like(few[1])])
            yield f"CKA/{dtype}/exact/{estimator}", partial(_accumulated, few, estimator, True)
        yield f"CKA/{dtype}/minibatch/debiased", partial(_accumulated, few, "debiased", False)
        yield f"CKA/{dtype}/layers", partial(_layers, few)


def _ties(dtype: str, *shape: int, seed: int) -> torch.Tensor:
    """Return rows in which about half of the values are small integers, with many ties."""
    values = floats(dtype, *shape, seed=seed)
    few = integers(-5, 6, *shape, seed=seed + 100).to(values.dtype)
    return torch.where(integers(0, 2, *shape, seed=seed + 200) > 0, values, few)


def _comparable(dtype: str) -> torch.Tensor:
    each = specials(dtype)  # with three NaN at the end of either half
    return torch.cat([each[:13], each[16:29]]).repeat(3)


def _holes(dtype: str) -> torch.Tensor:
    x = _ties(dtype, 4, 331, seed=10)
    x[1, 5], x[3, ::7] = torch.nan, -torch.nan
    return x


def _files(rows: np.ndarray[Any, np.dtype[Any]]) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.npy") for i in range(len(rows))]
        for path, row in zip(paths, rows, strict=True):
            np.save(path, row)
        return nondet_ext.spearman_files(paths, memory="16GB", scratch=Path(folder, "scratch"))


def _correct(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the fraction of examples at which a model's true class has the largest output."""
    true = logits.gather(2, labels.expand(len(logits), -1)[..., None])[..., 0]
    return (true == logits.amax(2)).sum(1).to(torch.float64) / logits.shape[1]


def _whole(dtype: str, examples: int, width: int, seed: int) -> torch.Tensor:
    """Return small whole numbers; each pair of neighbouring examples adds up to zero."""
    half = integers(-3, 4, examples // 2, width, seed=seed).to(FLOATS[dtype][0])
    return torch.stack([half, -half], 1).flatten(0, 1)


def _balanced(dtype: str, seed: int) -> torch.Tensor:
    """Return eight examples of 28 features, each feature a row of a Hadamard matrix of order eight.
    Features sum to zero, the squares of an example sum to 28, and the shifts of the debiased
    estimator are whole.
    """
    rows = tensor([[1]])
    for _ in range(3):
        rows = torch.cat([torch.cat([rows, rows], 1), torch.cat([rows, -rows], 1)])
    chosen = integers(1, 8, 28, seed=seed)
    return rows[chosen].T.to(FLOATS[dtype][0])


def _accumulated(features: list[torch.Tensor], estimator: Any, exact: bool) -> Any:
    """Return CKA after each of four batches, and after one more in a state that was saved and
    loaded.
    """
    cka = nondet_ext.CKA(estimator, exact=exact)
    results = []
    for start in range(0, 256, 64):
        cka.update([x[start : start + 64] for x in features])
        results.append(cka.compute())
    loaded = nondet_ext.CKA(estimator, exact=exact)
    loaded.load_state_dict(cka.state_dict())
    loaded.update([x[:64] for x in features])
    return [*results, loaded.compute()]


def _layers(features: list[torch.Tensor]) -> Any:
    cka = nondet_ext.CKA()
    for start in range(0, 256, 128):
        first, second, third = (x[start : start + 128] for x in features)
        cka.update({"a": [first, second], "b": [second, third]}, {"a": [third], "b": [first]})
    found: Any = cka.compute()
    return [found["a"], found["b"]]
