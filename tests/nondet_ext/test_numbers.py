"""Test numbers of NumPy and objects with ``__index__`` as arguments of public functions."""

import numpy as np
import pytest
import torch

import nondet_ext as ext


class Three:
    def __index__(self):
        return 3


X = torch.arange(24.0).reshape(4, 6)
INTEGERS = [getattr(np, f"{sign}int{width}") for sign in ("", "u") for width in (8, 16, 32, 64)]
CALLS = {
    "sum seed": lambda n: ext.sum(X, order="seeded", seed=n),
    "sum seeds": lambda n: ext.sum(X, order="seeded", seed=(1, n)),
    "sum dim": lambda n: ext.sum(X[None, None], n),
    "mean dims": lambda n: ext.mean(X[None, None], (0, n)),
    "index_add dim": lambda n: ext.index_add(
        X[None, None], n, torch.tensor([1]), X[None, None, :, :1]
    ),
    "bincount minlength": lambda n: ext.bincount(torch.tensor([1]), torch.ones(1), n),
    "churn classes": lambda n: ext.churn(torch.ones(2, 3).long(), torch.arange(3), n),
    "flip_ulp": lambda n: ext.flip_ulp(X.clone(), n, 1, n),
    "flip_ulp list": lambda n: ext.flip_ulp(X.clone(), [n, 1]),
    "flip_bit": lambda n: ext.flip_bit(X.clone(), 1, n),
    "philox_bits size": lambda n: ext.philox_bits(n, seed=n, stream=n, counter=(n,), offset=n),
    "philox_bits sizes": lambda n: ext.philox_bits((n, 2), seed=1),
    "philox_randint": lambda n: ext.philox_randint(1, n, n, seed=1),
    "philox_permutation": lambda n: ext.philox_permutation(n, seed=1),
    "random_flip": lambda n: ext.random_flip(X.clone(), n, n, n).indices,
    "linear_cka memory": lambda n: ext.linear_cka(
        [X, X * X], memory=n * 10**9 if type(n) is int else n
    ),
}


def same(a, b):
    return ext.fingerprint(a) == ext.fingerprint(b)


@pytest.mark.parametrize("make", [*INTEGERS, torch.tensor, lambda n: Three()])
@pytest.mark.parametrize("name", [name for name in CALLS if "memory" not in name])
def test_integers(name, make):
    assert same(CALLS[name](make(3)), CALLS[name](3))


@pytest.mark.filterwarnings("ignore::nondet_ext.DegenerateInputWarning")
@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), 3.0, np.float32(3), torch.tensor(3.0), np.ones(2)]
)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_integer(name, value):
    with pytest.raises(TypeError, match=r"^\w+(\[\d\])? must "):
        CALLS[name](value)


def test_records_hold_plain_integers():
    record = ext.random_flip(X.clone(), np.int64(1), np.uint8(2))
    assert (type(record.seed), type(record.stream)) == (int, int)


def test_bools_and_floats():
    assert ext.sum(X, 0, keepdim=np.True_).shape == (1, 6)
    with pytest.raises(TypeError, match="keepdim must be a bool, got float"):
        ext.sum(X, 0, keepdim=0.5)
    gates = torch.rand(4, 1, 6), torch.rand(18, 6)
    quarter, plain = (ext.qrnn(*gates, zoneout=kind(0.25))[0] for kind in (np.float64, float))
    assert same(quarter, plain)
    with pytest.raises(TypeError, match="zoneout must be a float, got str"):
        ext.qrnn(*gates, zoneout="0.25")
