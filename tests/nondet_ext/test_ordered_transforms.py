"""Test nondet_ext.ordered with compiled, scripted and transformed functions and with other
threads.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable

import pytest
import torch

from nondet_ext import scatter, summation
from nondet_ext.ordering import ordered

BACKENDS = ["aot_eager", "inductor"]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def double_sum(x: torch.Tensor) -> torch.Tensor:
    return (x * 2).sum()


def vector_with_another_sum(total: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return a vector whose total, twice its sum, has other bits than the fixed one.

    Which vectors these are depends on the processor and, for a compiled total, on the backend.
    """
    for seed in range(1000):
        x = torch.randn(100_001, generator=torch.Generator().manual_seed(seed))
        if not torch.equal(total(x), summation.sum(x * 2)):
            return x
    pytest.fail("the total equals the fixed sum on 1000 random vectors")


X = vector_with_another_sum(double_sum)
FIXED = summation.sum(X * 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_compiled_before_runs_eagerly_inside(backend):
    compiled = torch.compile(double_sum, backend=backend)
    x = vector_with_another_sum(compiled)
    before, fixed = compiled(x), summation.sum(x * 2)
    with ordered() as scope:
        assert torch.equal(compiled(x), fixed)
    assert scope.uncovered == {}
    assert torch.equal(compiled(x), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_first_called_inside_runs_eagerly_and_is_compiled_later(backend):
    x = vector_with_another_sum(torch.compile(double_sum, backend=backend))
    fixed = summation.sum(x * 2)
    torch._dynamo.reset()  # forget what was compiled to find the vector
    compiled = torch.compile(double_sum, backend=backend)
    with ordered():
        assert torch.equal(compiled(x), fixed)
    assert not torch.equal(compiled(x), fixed)


@pytest.mark.parametrize("first_outside", [True, False])
def test_a_full_graph_is_refused_inside(first_outside):
    compiled = torch.compile(double_sum, backend="aot_eager", fullgraph=True)
    if first_outside:
        compiled(X)
    with ordered(), pytest.raises(RuntimeError, match="no compiled frames"):
        compiled(X)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_scope_opened_in_a_compiled_function_breaks_the_graph(backend):
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        with ordered():
            z = y.sum()
        return z + y[0] * 0

    assert torch.equal(torch.compile(function, backend=backend)(X), FIXED)
    with pytest.raises(RuntimeError):
        torch.compile(function, backend=backend, fullgraph=True)(X)


def test_a_decorated_function_called_in_a_compiled_one():
    decorated = ordered()(double_sum)
    assert torch.equal(torch.compile(lambda x: decorated(x) + 0, backend="aot_eager")(X), FIXED)
    assert torch.equal(torch.compile(decorated, backend="aot_eager")(X), FIXED)


WEIGHT = torch.ones(100_001, requires_grad=True)
BACKWARDS: dict[str, Callable[[torch.Tensor], object]] = {
    "Tensor.backward": lambda loss: loss.backward(),
    "autograd.backward": lambda loss: torch.autograd.backward([loss]),
    "autograd.grad": lambda loss: torch.autograd.grad(loss, WEIGHT),
    "autograd.grad by name": lambda loss: torch.autograd.grad(outputs=loss, inputs=[WEIGHT]),
    "behind other nodes": lambda loss: (loss * 2).exp().backward(),
    "gradient edge": lambda loss: torch.autograd.backward(
        torch.autograd.graph.get_gradient_edge(loss), torch.tensor(1.0)
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", BACKWARDS)
def test_a_compiled_backward_pass_is_refused_inside(how, backend):
    compiled = torch.compile(lambda x: (x * WEIGHT).sin().sum(), backend=backend)
    loss = compiled(X)
    with ordered(), pytest.raises(RuntimeError, match="run the forward pass inside too"):
        BACKWARDS[how](loss)
    with ordered() as scope:
        BACKWARDS[how](compiled(X))
    assert scope.uncovered == {}


def test_scopes_of_other_threads_do_not_let_compiled_code_in():
    compiled = torch.compile(double_sum, backend="aot_eager")
    plain = compiled(X)
    opened, closed = threading.Event(), threading.Event()
    results = []

    def other() -> None:
        scope = contextlib.ExitStack()
        scope.enter_context(ordered())
        opened.set()
        closed.wait(60)
        scope.close()
        results.append(compiled(X))

    for meanwhile in (True, False):
        opened.clear()
        closed.clear()
        worker = threading.Thread(target=other)
        if meanwhile:  # the other scope opens first and closes while this one is open
            worker.start()
            opened.wait(60)
        with ordered():
            if not meanwhile:
                worker.start()
                opened.wait(60)
            closed.set()
            worker.join()
            assert torch.equal(compiled(X), FIXED)
    assert all(torch.equal(each, plain) for each in results)


def test_a_backward_pass_outside_is_not_covered():
    table = torch.zeros(20, 6, requires_grad=True)
    index = torch.arange(3000) % 20
    rows = torch.randn(3000, 6, generator=torch.Generator().manual_seed(0))
    wanted = scatter.index_add(torch.zeros(20, 6), 0, index, rows, order="exact")
    with ordered("exact"):
        picked = table[index]
    (outside,) = torch.autograd.grad(picked, table, rows, retain_graph=True)
    with ordered("exact"):
        (inside,) = torch.autograd.grad(picked, table, rows)
    assert torch.equal(inside, wanted)
    assert not torch.equal(outside, wanted)


class Nested(torch.autograd.Function):
    """A function whose backward pass runs another backward pass, nested `depth` times."""

    @staticmethod
    def forward(ctx, x, depth, seen):
        ctx.depth, ctx.seen = depth, seen
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        ctx.seen.append((threading.get_ident(), double_sum(X)))
        if ctx.depth:
            with torch.enable_grad():
                inner = torch.ones(1, requires_grad=True)
                Nested.apply(inner, ctx.depth - 1, ctx.seen).backward(torch.ones(1))
        return grad, None, None


def test_the_threads_of_the_autograd_engine_inherit_the_scope():
    seen: list[tuple[int, torch.Tensor]] = []
    with ordered() as scope:
        x = torch.ones(1, requires_grad=True)
        Nested.apply(x, 130, seen).backward(torch.ones(1))
    # The autograd engine continues in another thread after 60 levels.
    assert len({thread for thread, _ in seen}) > 1
    assert all(torch.equal(result, FIXED) for _, result in seen)
    assert scope.uncovered == {}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # jvp imports scripted functions
def test_function_transforms():
    batch = X[:100_000].reshape(10, 10_000)
    with ordered() as scope:
        sums = torch.func.vmap(torch.sum)(batch)
        gradients = torch.func.vmap(torch.func.grad(lambda x, w: (x * w).sum(), 1), (0, None))(
            batch, torch.tensor(1.0)
        )
        value, tangent = torch.func.jvp(double_sum, (X,), (X,))
    rows = summation.sum(batch, 1)
    assert torch.equal(sums, rows)
    assert torch.equal(gradients, rows)
    assert torch.equal(value, FIXED)
    assert torch.equal(tangent, FIXED)
    assert scope.uncovered == {}


def test_scripted_and_traced_functions():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates both
        functions = [torch.jit.script(double_sum), torch.jit.trace(double_sum, (X,))]
    for function in functions:
        for _ in range(3):  # the profiling executor optimizes after the first calls
            with ordered() as scope:
                x = X.clone().requires_grad_()
                result = function(x)
                result.backward()
            assert torch.equal(result, FIXED)
            assert scope.uncovered == {}


def test_checkpoints_recompute_in_the_same_order():
    for reentrant in (True, False):
        x = X.clone().requires_grad_()
        seen = []

        def part(x: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(double_sum(x))
            return seen[-1].sin()

        with ordered():
            torch.utils.checkpoint.checkpoint(part, x, use_reentrant=reentrant).backward()
        assert len(seen) == 2
        assert all(torch.equal(result, FIXED) for result in seen)


def test_a_control_flow_operator_is_counted():
    def branch(x: torch.Tensor) -> torch.Tensor:
        return x.sum()

    with ordered() as scope:
        torch.cond(torch.tensor(True), branch, branch, (X,))
    assert scope.uncovered == {"cond": 1}


def test_an_operator_of_another_library_is_counted():
    @torch.library.custom_op("nondet_test::total", mutates_args=())
    def total(x: torch.Tensor) -> torch.Tensor:
        return x.sum()

    with ordered() as scope:
        total(X)
    assert scope.uncovered == {"nondet_test::total": 1}
