"""Test CKA from minibatches: its expectation, and that the exact mode equals linear_cka."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nondet_ext import CKA, DegenerateInputWarning, linear_cka
from references import cka as reference
from references.cka import ESTIMATORS, draw


def feed(cka: CKA, models, batches, other=None) -> CKA:
    for rows in batches:
        cka.update([x[rows] for x in models], None if other is None else [x[rows] for x in other])
    return cka


def split(n: int, sizes) -> list[slice]:
    """Return slices of n rows whose sizes are taken from `sizes` in turn; the last may be
    smaller.
    """
    edges = [0]
    for size in itertools.cycle(sizes):
        if edges[-1] == n:
            return [slice(a, b) for a, b in itertools.pairwise(edges)]
        edges.append(min(edges[-1] + size, n))
    raise AssertionError


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("size", [4, 5, 7])
def test_mean_over_all_batches_is_the_value_on_all_examples(n, size):
    """The mean over batches of all subsets of one size equals the value on all examples. HSIC_1 is
    a U-statistic of four examples, for which this holds (Hoeffding 1948, section 5).
    """
    models = draw([3, 5, 2], n, seed=n)
    subsets = [list(rows) for rows in itertools.combinations(range(n), size)]
    got = feed(CKA(), models, subsets).compute()
    expected = linear_cka(models, estimator="debiased")
    # One batch's HSIC, and so its error, is at most len(subsets) times the mean.
    bound = reference.tolerance(models, "debiased") * len(subsets)
    assert (got - expected).abs().max() <= bound


def test_expectation_does_not_depend_on_the_batch_size():
    """The mean HSIC over random partitions is the HSIC of all examples, for every batch size,
    because batches of a random partition are random subsets (Hoeffding 1948, section 5). The mean
    of 60 partitions must lie within 5 standard errors (by Student's t, chance exceeds that once in
    200,000); the last batch is smaller. The biased HSIC of batches must lie outside, which shows
    that the test can detect a bias.
    """
    n = 48
    models = draw([40, 300], n, seed=1)
    expected = reference.hsic(*(reference.gram(x) for x in models), "debiased")
    for size in (5, 11, 20):
        generator = torch.Generator().manual_seed(size)
        debiased, biased = [], []
        for _ in range(60):
            order = torch.randperm(n, generator=generator)
            batches = [
                [x[order[rows]] for x in models]
                for rows in split(n, [size])
                if rows.stop - rows.start >= 4
            ]
            cka = CKA()
            for batch in batches:
                cka.update(batch)
            totals = cka._layers[""].totals
            debiased.append(float(totals.hsic(True).cross[0, 1]) * 4.0 ** sum(totals.exponents))
            first = (reference.gram(x) for x in batches[0])
            biased.append(reference.hsic(*first, "biased"))
        for values, agrees in ((debiased, True), (biased, False)):
            error = np.std(values, ddof=1) / np.sqrt(len(values))
            assert (abs(np.mean(values) - expected) < 5 * error) == agrees


def test_batches_weigh_by_their_examples():
    x, y = draw([3, 4], 30, seed=2)
    sizes = (12, 10, 8)
    parts = split(30, sizes)

    def weighted(a, b) -> float:
        values = [
            reference.hsic(reference.gram(a[p]), reference.gram(b[p]), "debiased") for p in parts
        ]
        return sum(v * size for v, size in zip(values, sizes, strict=True)) / 30

    expected = weighted(x, y) / np.sqrt(weighted(x, x) * weighted(y, y))
    got = feed(CKA(), [x, y], parts).compute()
    worst = max(reference.tolerance([x[p], y[p]], "debiased") for p in parts)
    assert abs(float(got[0, 1]) - expected) <= 3 * worst
    assert got[0, 0] == 1


def test_batches_of_different_scales():
    x, y = draw([3, 4], 24, seed=3)
    x, y = x.clone(), y.clone()
    x[:8] *= 1e-3
    parts = split(24, [8])
    one = sum(reference.hsic(reference.gram(x[p]), reference.gram(y[p]), "debiased") for p in parts)
    two = sum(reference.hsic(reference.gram(x[p]), reference.gram(x[p]), "debiased") for p in parts)
    three = sum(
        reference.hsic(reference.gram(y[p]), reference.gram(y[p]), "debiased") for p in parts
    )
    got = feed(CKA(), [x, y], parts).compute()
    assert abs(float(got[0, 1]) - one / np.sqrt(two * three)) <= 1e-11


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sizes", [[40], [1], [1, 2, 3], [7], [16, 3]], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_exact_mode_equals_linear_cka(estimator, sizes, dtype):
    models = draw([3, 9, 1], 40, seed=4, dtype=dtype)
    doubles = [x.double() for x in models]
    other = draw([5, 2], 40, seed=5, dtype=dtype)
    bound = 16 * reference.tolerance(doubles + [x.double() for x in other], estimator)
    parts = split(40, sizes)
    got = feed(CKA(estimator, exact=True), models, parts).compute()
    assert (got - linear_cka(doubles, estimator=estimator)).abs().max() <= bound
    assert torch.equal(got, got.T)
    assert (got.diagonal() == 1).all()
    across = feed(CKA(estimator, exact=True), models, parts, other).compute()
    expected = linear_cka(doubles, [x.double() for x in other], estimator=estimator)
    assert (across - expected).abs().max() <= bound


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.sampled_from(ESTIMATORS),
    st.integers(0, 2**31),
)
def test_exact_mode_equals_linear_cka_for_any_split(sizes, widths, estimator, seed):
    models = draw(widths, 25, seed)
    bound = 16 * reference.tolerance(models, estimator)
    got = feed(CKA(estimator, exact=True), models, split(25, sizes)).compute()
    assert (got - linear_cka(models, estimator=estimator)).abs().max() <= bound


def test_exact_mode_is_accurate_if_means_drift():
    models = [x + torch.linspace(0, 50, 60)[:, None] for x in draw([4, 6], 60, seed=6)]
    for estimator in ESTIMATORS:
        bound = 2500 * reference.tolerance(models, estimator)  # (50 / 1)^2 cancels
        got = feed(CKA(estimator, exact=True), models, split(60, [4])).compute()
        assert (got - linear_cka(models, estimator=estimator)).abs().max() <= bound


def test_exact_mode_is_accurate_if_means_are_large():
    models = draw([4, 6], 60, seed=15)
    far = [x + 1e6 for x in models]
    for estimator in ESTIMATORS:
        got = feed(CKA(estimator, exact=True), far, split(60, [9])).compute()
        # x + 1e6 is rounded by 2**-34, about 6e-11 of the features' spread.
        assert (got - linear_cka(models, estimator=estimator)).abs().max() <= 1e-9


@pytest.mark.parametrize("exact", [False, True])
def test_layers_are_accumulated_separately(exact):
    first, second = draw([4, 6], 20, seed=7), draw([3, 2, 5], 20, seed=8)
    cka, alone, beside = (CKA(exact=exact) for _ in range(3))
    for rows in split(20, [8, 6, 6]):
        a, b = [x[rows] for x in first], [x[rows] for x in second]
        cka.update({"stem": a, "head": b})
        alone.update(a)
        beside.update(b)
    result = cka.compute()
    assert list(result) == ["stem", "head"]
    assert torch.equal(result["stem"], alone.compute())
    assert torch.equal(result["head"], beside.compute())


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("layers", [False, True])
def test_a_saved_state_continues_to_the_same_result(exact, layers):
    models = draw([4, 6], 30, seed=9)

    def batch(rows):
        features = [x[rows] for x in models]
        return {"a": features, "b": features[::-1]} if layers else features

    whole, before, after = (CKA(exact=exact) for _ in range(3))
    parts = split(30, [10])
    for rows in parts:
        whole.update(batch(rows))
    before.update(batch(parts[0]))
    saved = pickle.loads(pickle.dumps(before.state_dict()))
    before.update(batch(parts[1]))
    after.load_state_dict(saved)
    for rows in parts[1:]:
        after.update(batch(rows))
    got, expected = after.compute(), whole.compute()
    for key in expected if layers else [slice(None)]:
        assert torch.equal(got[key], expected[key])
    with pytest.raises(ValueError, match=f"the state must be of exact={not exact}"):
        CKA(exact=not exact).load_state_dict(saved)


def test_tensors_of_one_model_and_stacks():
    x, y = draw([4, 6], 20, seed=10)
    for exact in (False, True):
        cka = CKA(exact=exact)
        for rows in split(20, [10]):
            cka.update(x[rows], y[rows])
        assert cka.compute().shape == ()
        stacked = CKA(exact=exact)
        stacked.update(torch.stack([x, 2 * x]).reshape(2, 20, 2, 2))
        assert stacked.compute().shape == (2, 2)


@pytest.mark.parametrize("exact", [False, True])
def test_refused_updates_change_nothing(exact):
    x, y = draw([4, 6], 20, seed=11)
    cka = CKA(exact=exact)
    with pytest.raises(RuntimeError, match="at least one update"):
        cka.compute()
    cka.update([x, y])
    before = cka.compute()
    bad = y.clone()
    bad[3, 2] = torch.nan
    refused = [
        ([x], r"the models must stay features\[0\], features\[1\], got features\[0\]"),
        ([x, y, y], "the models must stay"),
        ([x, x], r"features\[1\] must stay 6 features wide, got 4"),
        ([x, bad], r"features\[1\] has NaN"),
        ({"a": [x, y]}, "must stay a dict of layers, or stay without layers"),
        ([x[:0], y[:0]], "at least"),
    ]
    for features, message in refused:
        with pytest.raises(ValueError, match=message):
            cka.update(features)
    assert torch.equal(cka.compute(), before)
    cka.reset()
    cka.update({"a": [x], "b": [y]})
    before = cka.compute()
    with pytest.raises(ValueError, match=r"features\['b'\]\[0\] has NaN"):
        cka.update({"a": [2 * x], "b": [bad]})
    with pytest.raises(ValueError, match=r"the layers must stay \['a', 'b'\], got \['a'\]"):
        cka.update({"a": [x]})
    assert all(torch.equal(cka.compute()[key], before[key]) for key in before)


def test_refused_layers_and_options():
    x, y = draw([4, 6], 20, seed=12)
    with pytest.raises(ValueError, match="at least one layer"):
        CKA().update({})
    with pytest.raises(TypeError, match="both be dicts"):
        CKA().update({"a": x}, y)
    with pytest.raises(ValueError, match=r"other must have the layers \['a'\], got \['b'\]"):
        CKA().update({"a": x}, {"b": y})
    with pytest.raises(ValueError, match="needs exact=True"):
        CKA("biased")
    with pytest.raises(ValueError, match="estimator must be"):
        CKA("both", exact=True)
    with pytest.raises(ValueError, match="at least 4 examples, got 3"):
        CKA().update([x[:3], y[:3]])
    with pytest.raises(ValueError, match=r"memory must be at least \d+ bytes for the exact"):
        CKA(exact=True, memory=500).update([x, y])
    cka = CKA(exact=True)
    cka.update([x[:3], y[:3]])
    with pytest.raises(ValueError, match="at least 4 examples, the updates had 3"):
        cka.compute()


@pytest.mark.parametrize("exact", [False, True])
def test_constant_features(exact):
    x, y = draw([4, 6], 20, seed=13)
    flat = torch.full_like(y, 0.1)
    cka = feed(CKA(exact=exact), [x, flat], split(20, [10]))
    with pytest.warns(DegenerateInputWarning, match=r"^features\[1\]: the same for all examples"):
        result = cka.compute()
    assert result.isnan().tolist() == [[False, True], [True, True]]
    # Features that are constant in one batch only: the other batches determine the result.
    flat[10:] = y[10:]
    result = feed(CKA(exact=exact), [x, flat], split(20, [10])).compute()
    assert result.isfinite().all()


def test_constant_in_each_batch_only():
    x = draw([4], 20, seed=14)[0]
    steps = torch.cat([torch.zeros(10, 2), torch.ones(10, 2)]).double()
    exact = feed(CKA(exact=True), [x, steps], split(20, [10])).compute()
    expected = linear_cka([x, steps], estimator="debiased")
    assert (exact - expected).abs().max() <= 16 * reference.tolerance([x, steps], "debiased")
    with pytest.warns(DegenerateInputWarning, match=r"features\[1\]: .* of each batch;"):
        assert feed(CKA(), [x, steps], split(20, [10])).compute()[1].isnan().all()
