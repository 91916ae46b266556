"""Compare the recurrence of quasi-recurrent networks with loops over time in NumPy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet_ext
from factories.floats import FORMATS
from factories.samples import check, to_torch
from nondet_ext._native import _C

WIDE = {"float64": np.float64, "float32": np.float32, "float16": np.float32, "bfloat16": np.float32}
SIZES = [(1, 1), (2, 3), (5, 31), (3, 64), (4, 65), (7, 512), (3, 513), (2, 1030)]


def inputs(fmt, steps, columns, seed=0):
    """Return random z, f, o and the initial state; some gates lie outside of (0, 1), which is
    allowed.
    """
    rng = np.random.default_rng([seed, steps, columns])
    z = rng.standard_normal((steps, columns))
    f, o = rng.uniform(-0.2, 1.2, (2, steps, columns))
    initial = 3 * rng.standard_normal(columns)
    return [x.astype(fmt.numpy_dtype) for x in (z, f, o, initial)]


def forward(z, f, o, initial, wide):
    """Return h and the last state by a loop over time; every product and sum is rounded to `wide`,
    the dtype of the result.
    """
    one = wide(1)
    z, f = z.astype(wide), f.astype(wide)
    cell = np.zeros(z.shape[1:], wide) if initial is None else initial.astype(wide)
    h = np.empty(z.shape, wide)
    with np.errstate(all="ignore"):
        for t in range(len(z)):
            cell = f[t] * cell + (one - f[t]) * z[t]
            h[t] = cell if o is None else o[t].astype(wide) * cell
    return h, cell


def backward(z, f, o, initial, grad_h, grad_last, wide):
    """Return the gradients of z, f, o and initial by a loop over time from the last step to the
    first.
    """
    one = wide(1)
    z, f, grad_h, reaching = (x.astype(wide) for x in (z, f, grad_h, grad_last))
    gates = np.ones(z.shape, wide) if o is None else o.astype(wide)
    cells = [np.zeros(z.shape[1:], wide) if initial is None else initial.astype(wide)]
    out = [np.empty(z.shape, wide) for _ in range(3)]
    with np.errstate(all="ignore"):
        for t in range(len(z)):
            cells.append(f[t] * cells[t] + (one - f[t]) * z[t])
        for t in reversed(range(len(z))):
            through = grad_h[t] if o is None else grad_h[t] * gates[t]
            total = reaching + through
            out[0][t] = (one - f[t]) * total
            out[1][t] = total * (cells[t] - z[t])
            out[2][t] = grad_h[t] * cells[t + 1]
            reaching = f[t] * total
    return *out, reaching


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.usefixtures("backend")
def test_forward_is_the_loop(dtype, gated, begun):
    fmt, wide = FORMATS[dtype], WIDE[dtype]
    for steps, columns in SIZES:
        z, f, o, initial = inputs(fmt, steps, columns)
        o, initial = o if gated else None, initial if begun else None
        h, last = forward(z, f, o, initial, wide)
        given = [None if x is None else to_torch(x, fmt) for x in (z, f, o, initial)]
        got = nondet_ext.forget_mult(*given)
        check(got[0], h.astype(fmt.numpy_dtype), fmt)
        check(got[1], last.astype(fmt.numpy_dtype), fmt)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forward_is_torch_s_own_loop(dtype, cpu_isa):
    fmt = FORMATS[dtype]
    z, f, o, cell = (to_torch(x, fmt) for x in inputs(fmt, 9, 300))
    h, last = nondet_ext.forget_mult(z, f, o, cell)
    for t in range(9):
        cell = f[t] * cell + (1 - f[t]) * z[t]
        assert torch.equal(h[t], o[t] * cell)
    assert torch.equal(last, cell)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.usefixtures("backend")
def test_backward_is_the_loop(dtype, gated):
    fmt, wide = FORMATS[dtype], WIDE[dtype]
    for steps, columns in SIZES:
        z, f, o, initial = inputs(fmt, steps, columns, seed=1)
        grad_h, _, _, grad_last = inputs(fmt, steps, columns, seed=2)
        leaves = [to_torch(x, fmt).requires_grad_() for x in (z, f, o, initial)]
        arguments = [leaves[0], leaves[1], leaves[2] if gated else None, leaves[3]]
        h, last = nondet_ext.forget_mult(*arguments)
        torch.autograd.backward((h, last), (to_torch(grad_h, fmt), to_torch(grad_last, fmt)))
        expected = backward(z, f, o if gated else None, initial, grad_h, grad_last, wide)
        for name, leaf, values in zip("zfoi", leaves, expected, strict=True):
            if name == "o" and not gated:
                assert leaf.grad is None
            else:
                check(leaf.grad, values.astype(fmt.numpy_dtype), fmt)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("steps", [300, 1200])  # more steps: blocks of fewer columns
def test_many_steps(dtype, steps, cpu_isa):
    fmt, wide = FORMATS[dtype], WIDE[dtype]
    z, f, o, initial = inputs(fmt, steps, 130, seed=3)
    grad_h, _, _, grad_last = inputs(fmt, steps, 130, seed=4)
    leaves = [to_torch(x, fmt).requires_grad_() for x in (z, f, o, initial)]
    h, last = nondet_ext.forget_mult(*leaves)
    torch.autograd.backward((h, last), (to_torch(grad_h, fmt), to_torch(grad_last, fmt)))
    expected = (
        *forward(z, f, o, initial, wide),
        *backward(z, f, o, initial, grad_h, grad_last, wide),
    )
    for got, values in zip((h, last, *(x.grad for x in leaves)), expected, strict=True):
        check(got.detach(), values.astype(fmt.numpy_dtype), fmt)


@pytest.mark.parametrize("used", ["h", "last"])
@pytest.mark.usefixtures("backend")
def test_one_of_the_two_results_alone(used):
    fmt = FORMATS["float32"]
    z, f, o, initial = inputs(fmt, 4, 70)
    leaves = [to_torch(x, fmt).requires_grad_() for x in (z, f, o, initial)]
    h, last = nondet_ext.forget_mult(*leaves)
    zeros = np.zeros((4, 70), np.float32), np.zeros(70, np.float32)
    ones = np.ones((4, 70), np.float32), np.ones(70, np.float32)
    if used == "h":
        h.sum().backward()
        grads = ones[0], zeros[1]
    else:
        last.sum().backward()
        grads = zeros[0], ones[1]
    expected = backward(z, f, o, initial, *grads, np.float32)
    for leaf, values in zip(leaves, expected, strict=True):
        assert torch.equal(leaf.grad, torch.from_numpy(values))


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_gradients_are_those_of_finite_differences(gated, begun):
    fmt = FORMATS["float64"]
    z, f, o, initial = (to_torch(x, fmt).requires_grad_() for x in inputs(fmt, 4, 3))
    o, initial = o if gated else None, initial if begun else None
    given = [x for x in (z, f, o, initial) if x is not None]

    def run(*leaves):
        rest = list(leaves[2:])
        return nondet_ext.forget_mult(
            leaves[0],
            leaves[1],
            rest.pop(0) if gated else None,
            rest.pop(0) if begun else None,
        )

    assert torch.autograd.gradcheck(run, given)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.usefixtures("backend")
def test_special_values(dtype):
    """Every pair of NaN, infinities, subnormals and zeros as gate and state gives the values of the
    loop.
    """
    fmt, wide = FORMATS[dtype], WIDE[dtype]
    bits = fmt.special_bits
    a, b = (fmt.array(x.reshape(-1)) for x in np.meshgrid(bits, bits))
    ones = np.ones(len(a), fmt.numpy_dtype)
    for z, f, o, initial in ((a, b, ones, ones), (ones, a, b, ones), (ones, a, ones, b)):
        h, last = forward(z[None], f[None], o[None], initial, wide)
        got = nondet_ext.forget_mult(
            *(to_torch(x, fmt) for x in (z[None], f[None], o[None], initial))
        )
        with np.errstate(all="ignore"):
            check(got[0], h.astype(fmt.numpy_dtype), fmt)
            check(got[1], last.astype(fmt.numpy_dtype), fmt)


@pytest.mark.usefixtures("threads")
def test_threads_and_splits_change_no_bit():
    fmt = FORMATS["float32"]
    z, f, o, initial = (to_torch(x, fmt) for x in inputs(fmt, 3, 70_001))
    results = []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        leaves = [x.clone().requires_grad_() for x in (z, f, o, initial)]
        h, last = nondet_ext.forget_mult(*leaves)
        (h.sum() + 2 * last.sum()).backward()
        results.append([h, last, *(x.grad for x in leaves)])
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))
    halves = [nondet_ext.forget_mult(z[:, s], f[:, s], o[:, s], initial[s]) for s in HALVES]
    assert torch.equal(torch.cat([h for h, _ in halves], 1), results[0][0])
    first, state = nondet_ext.forget_mult(z[:1], f[:1], o[:1], initial)
    second, last = nondet_ext.forget_mult(z[1:], f[1:], o[1:], state)
    assert torch.equal(torch.cat([first, second]), results[0][0])
    assert torch.equal(last, results[0][1])


HALVES = (slice(0, 33_333), slice(33_333, 70_001))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_paths_agree(data):
    steps, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 140))
    fmt = FORMATS[data.draw(st.sampled_from(list(FORMATS)))]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values = [
        fmt.tensor(fmt.random_bits(rng, steps * columns)).view(steps, columns) for _ in range(4)
    ]
    initial = fmt.tensor(fmt.random_bits(rng, columns))
    before, results = _C.cpu.current_isa(), []
    for isa in _C.cpu.available_isas():
        _C.cpu.set_isa(isa)
        leaves = [x.clone().requires_grad_() for x in (*values[:3], initial)]
        h, last = nondet_ext.forget_mult(*leaves)
        torch.autograd.backward((h, last), (values[3], initial))
        results.append([fmt.bits(x) for x in (h, last, *(leaf.grad for leaf in leaves))])
    _C.cpu.set_isa(before)
    for result in results[1:]:
        assert all(map(np.array_equal, result, results[0]))


@pytest.mark.usefixtures("backend")
def test_any_strides_and_shapes():
    fmt = FORMATS["float32"]
    z, f, o, initial = (to_torch(x, fmt) for x in inputs(fmt, 6, 24))
    h, last = nondet_ext.forget_mult(z, f, o, initial)
    shaped = [x.view(6, 2, 3, 4) for x in (z, f, o)]
    moved = [x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0) for x in shaped]
    assert not moved[0].is_contiguous()
    got = nondet_ext.forget_mult(*moved, initial.view(2, 3, 4))
    assert torch.equal(got[0], h.view(6, 2, 3, 4))
    assert torch.equal(got[1], last.view(2, 3, 4))
    parts = torch.stack([z, f, o], 2)
    assert torch.equal(nondet_ext.forget_mult(*parts.unbind(2), initial)[0], h)
    flat = nondet_ext.forget_mult(z[:, 0], f[:, 0], o[:, 0], initial[0])
    assert torch.equal(flat[0], h[:, 0])
    assert flat[1].shape == ()
    # The gradient of sum() is expanded: its strides are zero.
    leaves = [x.clone().requires_grad_() for x in (z, f, o, initial)]
    nondet_ext.forget_mult(*leaves)[0].sum().backward()
    assert all(leaf.grad.shape == leaf.shape for leaf in leaves)


@pytest.mark.usefixtures("backend")
def test_nothing_to_do():
    z = torch.zeros(0, 5, requires_grad=True)
    initial = torch.randn(5, requires_grad=True)
    h, last = nondet_ext.forget_mult(z, z.detach(), None, initial)
    assert h.shape == (0, 5)
    assert torch.equal(last, initial)
    assert last.data_ptr() != initial.data_ptr()
    last.sum().backward()
    assert torch.equal(initial.grad, torch.ones(5))
    assert torch.equal(nondet_ext.forget_mult(z, z)[1], torch.zeros(5))
    empty = torch.zeros(3, 0, 2)
    assert nondet_ext.forget_mult(empty, empty)[0].shape == (3, 0, 2)


def test_results_are_new_and_inputs_stay():
    z, f = torch.randn(3, 4), torch.rand(3, 4)
    copies = z.clone(), f.clone()
    h, _ = nondet_ext.forget_mult(z, f)
    h.add_(1)
    assert torch.equal(z, copies[0])
    assert torch.equal(f, copies[1])


def test_the_caller_s_float_mode_does_not_reach_it():
    tiny = torch.full((1, 4), 1e-40)
    expected, _ = nondet_ext.forget_mult(tiny, torch.zeros(1, 4))
    assert torch.equal(expected, tiny)
    torch.set_flush_denormal(True)
    try:
        found, _ = nondet_ext.forget_mult(tiny, torch.zeros(1, 4))
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"z": [1.0]}, TypeError, r"z must be a torch\.Tensor, got list"),
        ({"z": torch.ones(3, 4).int()}, TypeError, "z must be a dense float64, float32"),
        ({"z": torch.tensor(1.0)}, ValueError, "z must have the steps as its first dimension"),
        ({"f": None}, TypeError, r"f must be a torch\.Tensor, got NoneType"),
        ({"f": torch.ones(3, 4).double()}, TypeError, "f must be torch.float32 as z is, got torch"),
        ({"o": torch.ones(3, 5)}, ValueError, r"o must have shape \(3, 4\) to go with z, got \(3,"),
        ({"initial": torch.ones(3, 4)}, ValueError, r"initial must have shape \(4,\) to go with z"),
        ({"f": torch.ones(3, 4, device="meta")}, ValueError, "f must be on cpu as z is, got meta"),
    ],
)
def test_bad_arguments_are_named(changed, kind, message):
    arguments = {"z": torch.ones(3, 4), "f": torch.ones(3, 4), **changed}
    with pytest.raises(kind, match=message):
        nondet_ext.forget_mult(**arguments)


@pytest.mark.usefixtures("backend")
def test_compiled_whole():
    def step(z, f, o, initial):
        h, last = nondet_ext.forget_mult(torch.tanh(z), f, o, initial)
        return h * 2, last

    values = [torch.rand(4, 6), torch.rand(4, 6), torch.rand(4, 6), torch.rand(6)]
    results = []
    torch._dynamo.reset()
    for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        leaves = [x.clone().requires_grad_() for x in values]
        h, last = run(*leaves)
        (h.sum() + last.sum()).backward()
        results.append([h, last, *(x.grad for x in leaves)])
    assert all(map(torch.equal, *results))


@pytest.mark.cuda
def test_cuda_equals_the_cpu_bit_for_bit():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for fmt in FORMATS.values():
        values = [to_torch(x, fmt) for x in inputs(fmt, 9, 1030)]
        results = []
        for device in ("cpu", "cuda"):
            leaves = [x.to(device, copy=True).requires_grad_() for x in values]
            h, last = nondet_ext.forget_mult(*leaves)
            torch.autograd.backward((h, last), (leaves[0].detach(), leaves[3].detach()))
            results.append([x.detach().cpu() for x in (h, last, *(x.grad for x in leaves))])
        assert all(map(torch.equal, *results))


def test_memory_is_that_of_an_op():
    """The forward pass saves only its inputs for the backward pass."""
    z, f, o = (torch.rand(50, 8, requires_grad=True) for _ in range(3))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        nondet_ext.forget_mult(z, f, o)
    assert {x.data_ptr() for x in kept} == {x.data_ptr() for x in (z, f, o)}
