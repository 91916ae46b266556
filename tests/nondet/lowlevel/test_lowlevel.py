"""The gradients of converted layers, compared with separately computed partial gradients that are
added by the reference of each order.

Inputs are small integers, and the upstream gradients of a chunk are integers times its own power of
two: partial gradients are then exact, however a kernel computes them, while their sum is rounded
and depends on its order.
"""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from nondet import lowlevel
from nondet.lowlevel import linear
from nondet_ext import philox_normal, philox_randint, reference

SEED, STEP, LAYER = 5, 7, 1


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def integers(shape, low, high, seed):
    return philox_randint(low, high, shape, seed=seed, stream=9)


def signs(n, *rest):
    """Return values of 1 and -1, half of each channel: mean 0, variance 1."""
    values = torch.ones((n, *rest))
    order = philox_normal((n, *rest), seed=3).transpose(0, 1).flatten(1).argsort(1)
    flat = values.transpose(0, 1).flatten(1).clone()
    flat.scatter_(1, order[:, ::2], -1.0)
    return flat.unflatten(1, (n, *rest[1:])).transpose(0, 1).contiguous()


def small(n, *rest):
    return integers((n, *rest), -4, 5, seed=1).float()


# name: layer, and its input of n examples. With eps = 3 and a variance of 1 the scale is 1/2.
CASES = {
    "linear": (lambda: nn.Linear(6, 5), lambda n: small(n, 6)),
    "linear without bias": (lambda: nn.Linear(6, 5, bias=False), lambda n: small(n, 6)),
    "conv": (lambda: nn.Conv2d(2, 3, 3, padding=1), lambda n: small(n, 2, 5, 4)),
    "conv, strided": (lambda: nn.Conv2d(2, 3, (3, 2), stride=2), lambda n: small(n, 2, 6, 6)),
    "conv, grouped and dilated": (
        lambda: nn.Conv2d(4, 4, 3, groups=2, dilation=2, padding="same", bias=False),
        lambda n: small(n, 4, 5, 5),
    ),
    "batch norm 2d": (lambda: nn.BatchNorm2d(20, eps=3.0), lambda n: signs(n, 20, 2, 4)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(20, eps=3.0), lambda n: signs(n, 20, 6)),
}
cases = pytest.mark.parametrize("case", CASES)


def make(case, n, chunks=8):
    """Return a layer, a model whose layer 1 is its conversion, input and upstream gradient."""
    build, draw = CASES[case]
    plain = build()
    for number, parameter in enumerate(plain.parameters()):
        with torch.no_grad():
            parameter.copy_(integers(tuple(parameter.shape), -3, 4, seed=20 + number))
    model = lowlevel.convert(nn.ModuleList([nn.Linear(1, 1), copy.deepcopy(plain)]), chunks=chunks)
    input = draw(n)
    shape = copy.deepcopy(plain)(input).shape
    upstream = integers(tuple(shape), -999, 1000, seed=2).float()
    for number, members in enumerate(chunked(n, chunks)):
        upstream[members] *= 2.0 ** (3 * (number * 5 % 8))
    return plain, model, input, upstream


def chunked(n, chunks):
    return np.array_split(np.arange(n), min(n, chunks))


def gradients(layer, input, upstream):
    layer.zero_grad()
    layer(input).backward(upstream)
    return {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}


def partial_gradients(plain, input, upstream, chunks=8):
    """Return, per parameter, (..., chunks) float32: torch's float64 gradients for the upstream
    gradient of one chunk at a time.
    """
    layer = copy.deepcopy(plain).double()
    found = []
    for members in chunked(len(input), chunks):
        alone = torch.zeros_like(upstream)
        alone[members] = upstream[members]
        found.append(gradients(layer, input.double(), alone.double()))
    partials = {}
    for name in found[0]:
        exact = torch.stack([each[name] for each in found], -1).numpy()
        partials[name] = exact.astype(np.float32)
        assert np.array_equal(partials[name], exact)
    return partials


def expected(partials, order, part):
    if order == "fixed":
        return reference.fixed_sum(partials)
    if order == "seeded":
        return reference.seeded_sum(partials, (SEED, STEP, LAYER, part))
    sums = [math.fsum(row) for row in partials.reshape(-1, partials.shape[-1]).tolist()]
    return np.array(sums).astype(np.float32).reshape(partials.shape[:-1])


def check(case, order, n, chunks=8, prepare=lambda input: input):
    plain, model, input, upstream = make(case, n, chunks)
    lowlevel.set_order(lowlevel.layers(model), order, SEED, STEP)
    got = gradients(model[LAYER], prepare(input), prepare(upstream))
    partials = partial_gradients(plain, input, upstream, chunks)
    assert list(got) == list(partials)
    for name, each in partials.items():
        wanted = expected(each, order, ["weight", "bias"].index(name))
        assert np.array_equal(got[name].numpy(), wanted), name
    return got


@cases
@pytest.mark.parametrize("order", ["fixed", "seeded", "exact"])
def test_gradients_are_the_partial_ones_added_in_the_order(case, order):
    check(case, order, 24)


@cases
def test_the_orders_give_different_gradients(case):
    # Otherwise the test above would prove little.
    bits = {order: check(case, order, 24)["weight"] for order in ("fixed", "seeded", "exact")}
    assert not torch.equal(bits["fixed"], bits["seeded"])
    assert not torch.equal(bits["fixed"], bits["exact"])


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 20])
@pytest.mark.parametrize("case", ["linear", "conv", "batch norm 2d"])
def test_batches_of_any_size(case, n):
    check(case, "seeded", n)


@pytest.mark.parametrize("chunks", [1, 3, 5])
@pytest.mark.parametrize("case", ["linear", "conv", "batch norm 2d"])
def test_any_number_of_chunks(case, chunks):
    check(case, "seeded", 10, chunks)


@pytest.mark.parametrize("case", ["conv", "conv, strided", "batch norm 2d"])
def test_memory_layout_changes_nothing(case):
    def channels_last(x):
        return x.to(memory_format=torch.channels_last)

    def gaps(x):
        return torch.stack([x, x], -1)[..., 0]

    for layout in (channels_last, gaps):
        check(case, "seeded", 12, prepare=layout)


def test_products_computed_a_few_columns_at_a_time(monkeypatch):
    whole = check("linear", "seeded", 21)
    monkeypatch.setitem(linear.PARTIAL_BYTES, "cpu", 2 * 8 * 5 * 4)  # two columns of six
    assert torch.equal(check("linear", "seeded", 21)["weight"], whole["weight"])


def test_leading_dimensions_of_a_linear_layer_are_examples():
    _, model, input, upstream = make("linear", 24)
    flat = gradients(model[LAYER], input, upstream)
    folded = gradients(model[LAYER], input.view(2, 3, 4, 6), upstream.view(2, 3, 4, 5))
    assert all(torch.equal(flat[name], folded[name]) for name in flat)
    single = gradients(model[LAYER], input[0], upstream[0])
    assert torch.equal(single["weight"], torch.outer(upstream[0], input[0]))


@pytest.mark.parametrize("order", ["fixed", "seeded", "exact"])
def test_embedding_adds_every_place_of_a_row_in_the_order(order):
    plain = nn.Embedding(4, 3, padding_idx=2)
    model = lowlevel.convert(nn.ModuleList([nn.Linear(1, 1), copy.deepcopy(plain)]))
    lowlevel.set_order(lowlevel.layers(model), order, SEED, STEP)
    tokens = integers((5, 12), 0, 4, seed=4)
    upstream = integers((5, 12, 3), -999, 1000, seed=2).float()
    upstream *= 2.0 ** (3 * integers((5, 12, 1), 0, 8, seed=3)).float()
    assert torch.equal(model[LAYER](tokens), model[LAYER].weight[tokens])
    got = gradients(model[LAYER], tokens, upstream)["weight"]
    for column in range(3):
        source = upstream[..., column].flatten().numpy()
        wanted = reference.index_add(
            np.zeros(4, np.float32), tokens.flatten().numpy(), source, order, (SEED, STEP, LAYER, 0)
        )
        wanted[2] = 0
        assert np.array_equal(got[:, column].numpy(), wanted)


@cases
def test_gradients_are_torchs_own_up_to_rounding(case):
    build, draw = CASES[case]
    plain = build()
    model = lowlevel.convert(copy.deepcopy(plain))
    input = philox_normal(tuple(draw(24).shape), seed=1)
    theirs_in, ours_in = (input.clone().requires_grad_() for _ in range(2))
    upstream = philox_normal(tuple(copy.deepcopy(plain)(input).shape), seed=2)
    theirs, ours = gradients(plain, theirs_in, upstream), gradients(model, ours_in, upstream)
    assert torch.equal(theirs_in.grad, ours_in.grad)
    sizes = input.abs()
    if isinstance(plain, nn.BatchNorm1d | nn.BatchNorm2d):
        rest = [d for d in range(input.dim()) if d != 1]
        var, mean = torch.var_mean(input, rest, correction=0, keepdim=True)
        sizes = ((input - mean) / (var + plain.eps).sqrt()).abs()
        per_channel = (upstream.abs() * sizes).sum(rest), upstream.abs().sum(rest)
        bounds = dict(zip(("weight", "bias"), per_channel, strict=True))
    else:
        bounds = gradients(copy.deepcopy(plain), sizes, upstream.abs())
    # A sum has at most as many terms as the upstream gradient has values in a channel, and an error
    # of at most n u S.
    count = upstream.numel() // (upstream.shape[-1] if upstream.dim() == 2 else upstream.shape[1])
    for name, theirs_each in theirs.items():
        limit = 2 * (count + 4) * 2.0**-24 * bounds[name] * 1.01
        assert bool(((theirs_each - ours[name]).abs() <= limit).all())


@cases
def test_gradcheck(case):
    build, draw = CASES[case]
    layer = lowlevel.convert(build().double())
    input = philox_normal(tuple(draw(5).shape), seed=1, dtype=torch.float64).requires_grad_()
    parameters = {name: each.detach().clone() for name, each in layer.named_parameters()}

    def function(input, *values):
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, named, (input,))

    values = [each.requires_grad_() for each in parameters.values()]
    assert torch.autograd.gradcheck(function, (input, *values), fast_mode=True)


@cases
@pytest.mark.parametrize("training", [True, False])
def test_forward_pass_and_state_are_those_of_the_unconverted_layer(case, training):
    build, draw = CASES[case]
    plain = build().train(training)
    model = lowlevel.convert(copy.deepcopy(plain))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_parameters()] == [
        n for n, _ in plain.named_parameters()
    ]
    for n in (9, 4):
        input = philox_normal(tuple(draw(n).shape), seed=n)
        assert torch.equal(model(input), plain(input))
    for ours, theirs in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_cumulative_statistics_and_frozen_scales():
    plain = nn.BatchNorm2d(3, momentum=None)
    model = lowlevel.convert(copy.deepcopy(plain))
    plain.weight.requires_grad_(False)
    model.weight.requires_grad_(False)
    for step in range(3):
        input = philox_normal((8, 3, 2, 2), seed=step)
        plain(input).sum().backward()
        model(input).sum().backward()
    assert torch.equal(plain.running_var, model.running_var)
    assert model.weight.grad is None
    assert model.bias.grad.tolist() == [96.0] * 3


def test_evaluation_mode_of_batch_norm_is_torchs_own():
    plain = nn.BatchNorm2d(3).eval()
    model = lowlevel.convert(copy.deepcopy(plain))
    input, upstream = philox_normal((8, 3, 2, 2), seed=1), philox_normal((8, 3, 2, 2), seed=2)
    theirs, ours = gradients(plain, input, upstream), gradients(model, input, upstream)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


@pytest.mark.parametrize("case", ["linear", "conv", "batch norm 2d"])
def test_seeded_gradients_depend_on_seed_step_and_layer_and_repeat(case):
    _, model, input, upstream = make(case, 24)
    layer = model[LAYER]

    def fingerprint(seed=1, step=1, number=LAYER):
        layer.accumulation.layer = number
        lowlevel.set_order([layer], "seeded", seed, step)
        return gradients(layer, input, upstream)["weight"].numpy().tobytes()

    assert len({fingerprint() for _ in range(3)}) == 1
    for varied in ("seed", "step", "number"):
        assert len({fingerprint(**{varied: value}) for value in range(6)}) > 1


def test_copies_keep_their_backward_pass_and_are_independent():
    _, model, input, upstream = make("conv", 24)
    lowlevel.set_order(lowlevel.layers(model), "seeded", SEED, STEP)
    wanted = gradients(model[LAYER], input, upstream)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        got = gradients(copied[LAYER], input, upstream)
        assert all(torch.equal(wanted[name], got[name]) for name in wanted)
        lowlevel.set_order(lowlevel.layers(copied), "fixed", SEED, STEP)
        assert model[LAYER].accumulation.order == "seeded"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("n", [5, 30])
def test_cross_entropy_is_the_mean_of_chunk_sums_in_the_order(n, smoothing):
    logits = philox_normal((n, 10), seed=1).requires_grad_()
    labels = integers((n,), 0, 10, seed=2)
    losses = nn.functional.cross_entropy(
        logits, labels, reduction="none", label_smoothing=smoothing
    )
    # The losses of a chunk are added by torch, in its own order.
    partials = np.array([losses.detach()[members].sum() for members in chunked(n, 8)], np.float32)
    key = (SEED, STEP, 2**32 - 1, 2)
    for order, total in [
        ("fixed", reference.fixed_sum(partials)),
        ("seeded", reference.seeded_sum(partials, key)),
        ("exact", reference.exact_sum(partials)),
    ]:
        loss = lowlevel.cross_entropy(
            logits, labels, order=order, seed=SEED, step=STEP, label_smoothing=smoothing
        )
        assert loss.item() == np.float32(total) / np.float32(n)
        (ours,) = torch.autograd.grad(loss, logits, retain_graph=True)
        (theirs,) = torch.autograd.grad(losses, logits, torch.full((n,), 1 / n), retain_graph=True)
        assert torch.equal(ours, theirs)
