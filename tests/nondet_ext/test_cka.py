"""Compare linear_cka with its definition; test its invariances and errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nondet_ext import DegenerateInputWarning, linear_cka
from nondet_ext._cka.models import Centred, read_features
from nondet_ext._cka.products import hsic_pairs
from references import cka as reference
from references.cka import ESTIMATORS, LEAST, draw

FORMS = ["gram", "features"]


def by_form(features, other, estimator, form, memory=10**8) -> np.ndarray:
    given = read_features(features, other, LEAST[estimator])
    hsic = hsic_pairs(given, estimator == "debiased", memory, form)
    roots = hsic.own.sqrt()
    columns = roots if other is None else roots[given.left :]
    return (hsic.cross / roots[: given.left].outer(columns)).numpy()


def assert_close(got: object, expected: np.ndarray, bound: float) -> None:
    got = np.asarray(got)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= bound


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("widths", [[1], [3, 1, 7], [40, 2, 90], [60, 60, 60, 60]], ids=str)
@pytest.mark.parametrize("n", [5, 31, 70])
def test_both_forms_follow_the_definition(estimator, widths, n):
    models = draw(widths, n, seed=n)
    expected = reference.cka(models, models, estimator)
    bound = reference.tolerance(models, estimator)
    assert_close(linear_cka(models, estimator=estimator), expected, bound)
    for form in FORMS:
        assert_close(by_form(models, None, estimator, form), expected, bound)
        few = by_form(models[:1], models, estimator, form)
        assert_close(few, expected[:1], bound)


@settings(max_examples=40)
@given(
    st.integers(4, 24),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(0, 4),
    st.sampled_from(ESTIMATORS),
    st.integers(0, 2**31),
)
def test_features_of_any_shape_follow_the_definition(n, widths, others, estimator, seed):
    models = draw(widths, n, seed)
    other = draw([5] * others, n, seed + 1) if others else None
    bound = reference.tolerance(models + (other or []), estimator)
    expected = reference.cka(models, other or models, estimator)
    assert_close(linear_cka(models, other, estimator=estimator), expected, bound)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_too_few_examples_are_refused(n):
    models = draw([3, 2], n, seed=1)
    for estimator in ESTIMATORS:
        if n < LEAST[estimator]:
            with pytest.raises(ValueError, match=f"at least {LEAST[estimator]} examples"):
                linear_cka(models, estimator=estimator)
        elif estimator == "biased":
            bound = reference.tolerance(models, estimator)
            expected = reference.cka(models, models, estimator)
            assert_close(linear_cka(models, estimator=estimator), expected, bound)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("other", [False, True])
def test_blocks_of_any_size_follow_the_definition(form, estimator, other):
    n = 150
    models = draw([20, 33, 7], n, seed=3)
    bound = reference.tolerance(models, estimator)
    expected = reference.cka(models, models[1:] if other else models, estimator)
    for memory in (6_000, 10_000, 30_000, 100_000, 10**6, 10**9):
        got = by_form(models, models[1:] if other else None, estimator, form, memory)
        assert_close(got, expected, bound)


@pytest.mark.parametrize("form", FORMS)
def test_too_little_memory_is_refused(form):
    models = draw([20, 33, 7], 150, seed=3)
    with pytest.raises(ValueError, match=r"memory must be at least \d+ bytes"):
        by_form(models, None, "biased", form, memory=100)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_float32_is_accurate_to_a_millionth(estimator):
    n = 2000
    models = draw([64, 900, 5], n, seed=4, dtype=torch.float32)
    centred = []
    # The estimators are inner products of doubly centred or U-centred Gram matrices.
    for x in models:
        k = reference.gram(x)
        if estimator == "debiased":
            np.fill_diagonal(k, 0)
            row = k.sum(0) / (n - 2)
            k = k - row - row[:, None] + k.sum() / ((n - 1) * (n - 2))
            np.fill_diagonal(k, 0)
        centred.append(k.ravel() / np.linalg.norm(k))
    expected = np.array([[a @ b for b in centred] for a in centred])
    for form in FORMS:
        got = by_form(models, None, estimator, form)
        assert_close(got, expected, 1e-6)
    assert_close(linear_cka(models, estimator=estimator, memory="2MB"), expected, 1e-6)


@pytest.mark.slow
def test_sums_of_many_float32_features_are_accurate():
    models = draw([150_001, 70], 70, seed=5, dtype=torch.float32)
    models[0] += models[0][:, :1]  # similar features: partial sums grow steadily
    for estimator in ESTIMATORS:
        expected = reference.cka(models, models, estimator)
        assert_close(linear_cka(models, estimator=estimator), expected, 1e-6)


def test_features_with_a_large_mean_are_accurate():
    near = draw([30, 30], 100, seed=6)
    far = [(x + 1000).float() for x in near]
    for estimator in ESTIMATORS:
        expected = reference.cka(far, far, estimator)
        for form in FORMS:
            assert_close(by_form(far, None, estimator, form), expected, 1e-6)


def test_debiasing_that_cancels_is_done_in_float64():
    n = 100  # with nearly as many features as examples, HSIC_1 cancels most of ||X^T X||^2
    noise = draw([n, n], n, seed=7)
    models = [(torch.eye(n) + 1e-3 * x).float() for x in noise]
    expected = reference.cka(models, models, "debiased")
    for form in FORMS:
        assert_close(by_form(models, None, "debiased", form), expected, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_accurate(dtype):
    models = draw([20, 8], 90, seed=8, dtype=dtype)
    for estimator in ESTIMATORS:
        expected = reference.cka(models, models, estimator)
        assert_close(linear_cka(models, estimator=estimator), expected, 1e-6)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_scales_are_accurate(factor):
    models = draw([20, 8], 70, seed=9)
    if 1e-38 < factor < 1e38:
        scaled = [(x * factor).float() for x in models]
        expected = reference.cka([x.double() / factor for x in scaled], models, "biased")
        assert_close(linear_cka(scaled, models_as(scaled, models, factor)), expected, 1e-6)
    expected = reference.cka(models, models, "biased")
    bound = 2 * reference.tolerance(models, "biased")
    assert_close(linear_cka([x * factor for x in models]), expected, bound)


def models_as(scaled, models, factor):
    return [x.to(each.dtype) for x, each in zip(models, scaled, strict=True)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rotation_scale_and_shift_do_not_matter(estimator):
    x, y = draw([12, 7], 50, seed=10)
    rotation = torch.linalg.qr(draw([12], 12, seed=11)[0])[0]
    value = linear_cka(x, y, estimator=estimator)
    bound = 4 * reference.tolerance([x, y], estimator)
    shuffle = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    for changed in (x @ rotation, -0.37 * x, x + torch.arange(12), x.flip(1)):
        assert abs(linear_cka(changed, y, estimator=estimator) - value) <= bound
    assert abs(linear_cka(x[shuffle], y[shuffle], estimator=estimator) - value) <= bound
    assert abs(linear_cka(x[shuffle], y, estimator=estimator) - value) > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_symmetry_range_and_diagonal(dtype):
    models = draw([9] * 6 + [200], 80, seed=12, dtype=dtype)
    models.append(2 * models[0])
    for estimator in ESTIMATORS:
        result = linear_cka(models, estimator=estimator)
        assert result.dtype == torch.float64
        assert torch.equal(result, result.T)
        assert (result.diagonal() == 1).all()
        if estimator == "biased":
            assert ((result >= 0) & (result <= 1)).all()
            assert (linear_cka(models, models) <= 1).all()


def test_debiased_is_about_zero_where_biased_is_not():
    """Independent features with fewer examples than features have a debiased CKA of about zero. The
    mean of 200 draws must lie within 5 standard errors of 0, which chance exceeds once in 1.7
    million.
    """
    values = {estimator: [] for estimator in ESTIMATORS}
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, 20, 40, generator=generator, dtype=torch.float64)
        for estimator in ESTIMATORS:
            values[estimator].append(float(linear_cka(x, estimator=estimator)[0, 1]))
    mean = np.mean(values["debiased"])
    assert abs(mean) < 5 * np.std(values["debiased"], ddof=1) / np.sqrt(200)
    assert np.mean(values["biased"]) > 0.5


def test_convolutional_features_are_flattened():
    flat = draw([24, 24], 30, seed=13)
    maps = [x.reshape(30, 2, 3, 4) for x in flat]
    expected = linear_cka(flat)
    assert torch.equal(linear_cka(maps), expected)
    assert torch.equal(linear_cka(torch.stack(maps)), expected)
    last = [x.contiguous(memory_format=torch.channels_last) for x in maps]
    assert torch.equal(linear_cka(last), expected)


def test_a_tensor_is_one_model_or_a_stack_of_models():
    x, y, z = draw([6, 6, 6], 20, seed=14)
    stacked = torch.stack([x, y, z])
    square = linear_cka([x, y, z])
    bound = reference.tolerance([x, y, z], "biased")
    assert torch.equal(linear_cka(stacked), square)
    assert linear_cka(x, y).shape == ()
    assert linear_cka(x, [y]).shape == (1, 1)
    assert linear_cka([x, y], z).shape == (2, 1)
    assert_close(linear_cka([x, y], [z, x]), square[:2][:, [2, 0]].numpy(), bound)
    assert linear_cka([x]).tolist() == [[1.0]]


def test_inputs_are_unchanged():
    x, y = draw([6, 5], 20, seed=15)
    before = x.clone(), y.clone()
    x.requires_grad_()
    assert not linear_cka([x, y]).requires_grad
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_precision_settings_and_autocast_are_ignored():
    models = draw([64, 64], 300, seed=16, dtype=torch.float32)
    expected = linear_cka(models)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = linear_cka(models)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert_close(got, expected.numpy(), 1e-7)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [9, 80])
def test_constant_features_warn_and_give_nan(estimator, dtype, n):
    models = draw([4, 5, 6], n, seed=17, dtype=dtype)
    models[1] = torch.full_like(models[1], 0.1)
    with pytest.warns(DegenerateInputWarning, match=r"^features\[1\]: the same for all examples"):
        result = linear_cka(models, estimator=estimator)
    assert result[1].isnan().all()
    assert result[:, 1].isnan().all()
    rest = linear_cka([models[0], models[2]], estimator=estimator)
    assert_close(result[::2, ::2], rest.numpy(), 1e-7)
    with pytest.warns(DegenerateInputWarning, match=r"^other\[0\]: the same"):
        assert linear_cka(models[0], [models[1]], estimator=estimator).isnan().all()


@pytest.mark.parametrize("n", [4, 7, 100])
@pytest.mark.parametrize("form", [None, *FORMS])
def test_debiased_cka_of_equal_distances_is_undefined(n, form):
    """The debiased CKA is undefined if all examples are at equal distances: every U-centred Gram
    entry is 0.
    """
    x = draw([3], n, seed=18)[0]
    rotations = [torch.linalg.qr(draw([n], n, seed)[0])[0] for seed in range(19, 24)]
    models = [*rotations, x]
    if form is None:
        with pytest.warns(
            DegenerateInputWarning, match=r"^features\[0\], .*\[4\]: the debiased HSIC with"
        ):
            result = linear_cka(models, estimator="debiased")
        assert result[:5].isnan().all()
        assert result[5, 5] == 1
    else:
        hsic = hsic_pairs(read_features(models, None, 4), True, 10**6, form)
        assert (hsic.own <= hsic.noise).tolist() == [True] * 5 + [False]


REFUSED = [
    (TypeError, "features must be a tensor or a sequence of tensors, got int", [3]),
    (TypeError, r"features\[1\] must be a torch.Tensor, got list", [[torch.ones(5, 2), [1.0]]]),
    (TypeError, r"features\[0\] must be a dense .*got torch.int64", [[torch.ones(5, 2).long()]]),
    (ValueError, "at least one model, got an empty sequence", [[]]),
    (ValueError, "at least one model, got shape", [torch.ones(0, 5, 2)]),
    (ValueError, r"one tensor \(models, examples, features\), got.*\(5, 2\)", [torch.ones(5, 2)]),
    (ValueError, r"features\[0\] must be \(examples, features...\).*\(5,\)", [[torch.ones(5)]]),
    (ValueError, "at least one feature, got shape", [[torch.ones(5, 0)]]),
    (ValueError, r"same number of examples: features\[0\] has 5, features\[1\] has 6",
     [[torch.ones(5, 2), torch.ones(6, 2)]]),
    (ValueError, r"same dtype: features has torch.float32, other has torch.float64",
     [torch.ones(5, 2), torch.ones(5, 2).double()]),
    (ValueError, "same device: .* has cpu, .* has meta",
     [torch.ones(5, 2), torch.ones(5, 2, device="meta")]),
    (TypeError, "got a tensor on the meta device", [[torch.ones(5, 2, device="meta")]]),
    (ValueError, r"features\[1\] has NaN", [[torch.rand(5, 2), torch.full((5, 2), torch.nan)]]),
    (ValueError, "other has NaN or inf", [torch.rand(5, 2), torch.full((5, 2), -torch.inf)]),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "arguments"), REFUSED)
def test_invalid_features_are_refused(error, message, arguments):
    with pytest.raises(error, match=message):
        linear_cka(*arguments)


def test_refused_options():
    x = draw([3, 3], 10, seed=19)
    with pytest.raises(ValueError, match="estimator must be 'biased' or 'debiased', got "):
        linear_cka(x, estimator="unbiased")
    with pytest.raises(ValueError, match="memory"):
        linear_cka(x, memory="lots")
    with pytest.raises(ValueError, match="memory"):
        linear_cka(x, memory=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_within_rounding_of_cpu():
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        models = draw([64, 900, 5], 500, seed=20, dtype=dtype)
        for estimator in ESTIMATORS:
            got = linear_cka([x.cuda() for x in models], estimator=estimator)
            assert got.is_cuda
            assert_close(got.cpu(), linear_cka(models, estimator=estimator).numpy(), bound)


def test_the_scaled_features_are_centred():
    features = read_features(draw([7, 3], 40, seed=21), None, 2)
    centred = Centred(features, torch.float64)
    for model, x in enumerate(features.tensors):
        rows = centred.rows(model, 0, 40) * 2.0 ** centred.exponents[model]
        assert (rows - (x - x.mean(0))).abs().max() <= 40 * 2.0**-53 * x.abs().max()
