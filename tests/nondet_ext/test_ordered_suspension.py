"""Test scopes of nondet_ext.ordered in code that Python suspends: generators, coroutines,
asynchronous generators, context managers made from them, and functions decorated with a scope.
"""

import asyncio
import contextlib
import gc
import inspect
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from factories.ordered_inputs import TABLE, X, assert_bits
from nondet_ext import summation
from nondet_ext.ordering import ordered

WHILE_SUSPENDED = "aten::sum (while suspended)"


def total(order: str | None = None) -> torch.Tensor:
    """Return the sum that torch computes outside, or the one of an order."""
    return X.sum(1) if order is None else summation.sum(X, 1, order=order)


PLAIN, FIXED, EXACT = total(), total("fixed"), total("exact")


def is_plain(x: torch.Tensor) -> bool:
    return torch.equal(x, PLAIN)


@pytest.fixture(autouse=True)
def _stacks_are_left_as_they_were():
    assert not torch.equal(FIXED, EXACT)
    assert not torch.equal(PLAIN, FIXED)
    assert not torch.equal(PLAIN, EXACT)
    yield
    gc.collect()
    assert torch._C._len_torch_dispatch_stack() == 0
    assert torch._C._len_torch_function_stack() == 0
    assert is_plain(X.sum(1))


# Decorated functions.


def run_generator(iterator: Iterator[torch.Tensor]) -> list[torch.Tensor]:
    results = []
    for each in iterator:
        results.append(each)
        assert is_plain(X.sum(1))
    return results


def run_async_generator(iterator: AsyncIterator[torch.Tensor]) -> list[torch.Tensor]:
    async def consume() -> list[torch.Tensor]:
        results = []
        async for each in iterator:
            results.append(each)
            assert is_plain(X.sum(1))
        return results

    return asyncio.run(consume())


def run_coroutine(coroutine: object) -> list[torch.Tensor]:
    async def other() -> None:
        for _ in range(3):
            assert is_plain(X.sum(1))
            await asyncio.sleep(0)

    async def both() -> list[torch.Tensor]:
        return (await asyncio.gather(coroutine, other()))[0]

    return asyncio.run(both())


def generator() -> Iterator[torch.Tensor]:
    TABLE @ TABLE.T
    yield X.sum(1)
    yield X.sum(1)


async def async_generator() -> AsyncIterator[torch.Tensor]:
    TABLE @ TABLE.T
    yield X.sum(1)
    await asyncio.sleep(0)
    yield X.sum(1)


async def coroutine() -> list[torch.Tensor]:
    TABLE @ TABLE.T
    first = X.sum(1)
    await asyncio.sleep(0)
    return [first, X.sum(1)]


@types.coroutine
def old_coroutine():
    TABLE @ TABLE.T
    first = X.sum(1)
    yield
    return [first, X.sum(1)]


async def through_old_coroutine(function: Callable[[], object]) -> object:
    return await function()


class Methods:
    def generator(self) -> Iterator[torch.Tensor]:
        return generator()

    async def coroutine(self) -> list[torch.Tensor]:
        return await coroutine()

    def __call__(self) -> Iterator[torch.Tensor]:
        yield from generator()


DECORATED: dict[str, tuple[Callable[[], object], Callable[..., list[torch.Tensor]]]] = {
    "generator": (generator, run_generator),
    "asynchronous generator": (async_generator, run_async_generator),
    "coroutine": (coroutine, run_coroutine),
    "coroutine made from a generator": (old_coroutine, run_coroutine),
    "function that returns a generator": (lambda: generator(), run_generator),
    "function that returns an asynchronous generator": (
        lambda: async_generator(),
        run_async_generator,
    ),
    "function that returns a coroutine": (lambda: coroutine(), run_coroutine),
    "function that returns a coroutine made from a generator": (
        lambda: old_coroutine(),
        run_coroutine,
    ),
    "generator expression": (lambda: (X.sum(1) for _ in (TABLE @ TABLE.T)[:2]), run_generator),
    "method": (Methods().generator, run_generator),
    "method that is a coroutine": (Methods().coroutine, run_coroutine),
    "object": (Methods(), run_generator),
}


@pytest.mark.parametrize("name", DECORATED)
def test_every_kind_of_function_can_be_decorated(name):
    function, run = DECORATED[name]
    decorator = ordered("exact")
    decorated = decorator(function)
    for calls in (1, 2):
        result = decorated()
        assert is_plain(X.sum(1))
        if "made from a generator" in name:
            result = through_old_coroutine(lambda result=result: result)
        for each in run(result):
            assert_bits(each, EXACT)
        assert decorator.uncovered == {"aten::mm": calls}


@pytest.mark.parametrize(
    "kind", ["isgeneratorfunction", "iscoroutinefunction", "isasyncgenfunction"]
)
def test_a_decorated_function_stays_of_its_kind(kind):
    for function in (generator, coroutine, async_generator, total):
        decorated = ordered()(function)
        assert getattr(inspect, kind)(decorated) == getattr(inspect, kind)(function)
        assert decorated.__name__ == function.__name__


def test_decorated_methods_of_classes():
    class Sums:
        @ordered("exact")
        @staticmethod
        def static() -> torch.Tensor:
            return X.sum(1)

        @ordered("exact")
        @classmethod
        def of_class(cls) -> torch.Tensor:
            return X.sum(1)

        @ordered("exact")
        def method(self) -> torch.Tensor:
            return X.sum(1)

    for each in (Sums().static, Sums.static, Sums.of_class, Sums().method):
        assert_bits(each(), EXACT)


@pytest.mark.parametrize("what", [torch.nn.Linear, 3, property(lambda self: self)])
def test_what_is_not_a_function_is_not_decorated(what):
    with pytest.raises(TypeError, match="decorates functions"):
        ordered()(what)


def test_a_function_that_returns_a_context_manager_is_refused():
    with pytest.raises(TypeError, match="below contextmanager"):
        ordered()(contextlib.contextmanager(generator))()

    @contextlib.contextmanager
    @ordered("exact")
    def manager():
        yield X.sum(1)

    with manager() as inside:
        assert_bits(inside, EXACT)
        assert is_plain(X.sum(1))


def test_values_errors_and_closing_pass_through_a_decorated_generator():
    log = []

    @ordered("exact")
    def echo():
        try:
            received = yield X.sum(1)
            while received != "return":
                try:
                    received = yield received, X.sum(1)
                except KeyError as error:
                    received = yield error, X.sum(1)
            return X.sum(1)
        finally:
            log.append(X.sum(1))

    talk = echo()
    assert_bits(next(talk), EXACT)
    assert talk.send(3)[0] == 3
    error = KeyError("k")
    caught, inside = talk.throw(error)
    assert caught is error
    assert_bits(inside, EXACT)
    with pytest.raises(StopIteration) as stop:
        talk.send("return")
    assert_bits(stop.value.value, EXACT)
    abandoned = echo()
    next(abandoned)
    abandoned.close()
    failing = echo()
    next(failing)
    with pytest.raises(ValueError, match="v"):
        failing.throw(ValueError("v"))
    del abandoned
    assert len(log) == 3
    for each in log:
        assert_bits(each, EXACT)


def test_values_errors_and_closing_pass_through_a_decorated_asynchronous_generator():
    log = []

    @ordered("exact")
    async def echo():
        try:
            received = yield X.sum(1)
            while True:
                try:
                    await asyncio.sleep(0)
                    received = yield received, X.sum(1)
                except KeyError as error:
                    received = yield error, X.sum(1)
        finally:
            log.append(X.sum(1))

    async def talk() -> None:
        generator = echo()
        assert_bits(await anext(generator), EXACT)
        assert (await generator.asend(3))[0] == 3
        error = KeyError("k")
        caught, inside = await generator.athrow(error)
        assert caught is error
        assert_bits(inside, EXACT)
        await generator.aclose()
        assert is_plain(X.sum(1))

    asyncio.run(talk())
    assert_bits(log[0], EXACT)


def test_a_decorated_generator_counts_its_seeded_sums_over_its_whole_life():
    @ordered("seeded", seed=3)
    def sums():
        for _ in range(4):
            yield X.sum(1)

    for n, (one, other) in enumerate(zip(sums(), sums(), strict=True)):
        assert_bits(one, summation.sum(X, 1, order="seeded", seed=(3, n)))
        assert_bits(one, other)


def test_a_decorated_generator_continues_in_another_thread():
    numbers = ordered("exact")(generator)()
    results = [next(numbers)]
    worker = threading.Thread(target=lambda: results.extend(numbers))
    worker.start()
    worker.join()
    assert len(results) == 2
    for each in results:
        assert_bits(each, EXACT)


def test_a_scope_opened_in_a_decorated_generator_is_the_innermost():
    @ordered("exact")
    def sums():
        yield X.sum(1)
        with ordered("fixed"):
            yield X.sum(1)
            yield X.sum(1)
        yield X.sum(1)

    results = run_generator(sums())
    for got, wanted in zip(results, (EXACT, FIXED, FIXED, EXACT), strict=True):
        assert_bits(got, wanted)


# With blocks.


def test_a_scope_does_not_leak_out_of_a_suspended_generator():
    scopes = []

    def sums(order):
        with ordered(order) as scope:
            scopes.append(scope)
            yield X.sum(1)
            yield X.sum(1)

    for fixed, exact in zip(sums("fixed"), sums("exact"), strict=True):
        assert_bits(fixed, FIXED)
        assert_bits(exact, EXACT)
        assert is_plain(X.sum(1))
        X + X
    # Who consumed the sums could have been meant, too.
    assert all(set(scope.uncovered) == {WHILE_SUSPENDED} for scope in scopes)


def test_a_generator_that_is_abandoned_closes_its_scope():
    def sums():
        with ordered("exact"):
            yield X.sum(1)

    numbers = sums()
    next(numbers)
    assert torch._C._len_torch_dispatch_stack() == 1
    del numbers
    assert torch._C._len_torch_dispatch_stack() == 0


def test_a_sum_that_an_outer_scope_covers_is_not_counted():
    def sums():
        with ordered("exact") as scope:
            yield scope
            yield scope

    with ordered("fixed") as outer:
        inner, *others = [scope for scope in sums() if torch.equal(X.sum(1), FIXED)]
    assert others == [inner]
    assert outer.uncovered == inner.uncovered == {}


def test_tasks_do_not_exchange_their_orders():
    async def work(order, wanted, before, inside):
        for _ in range(before):
            await asyncio.sleep(0)
        with ordered(order) as scope:
            for _ in range(inside):
                assert_bits(X.sum(1), wanted)
                await asyncio.sleep(0)
                assert_bits(X.sum(1), wanted)
        assert is_plain(X.sum(1))
        await asyncio.sleep(0)
        assert is_plain(X.sum(1))
        return scope

    async def main():
        shapes = [(0, 5), (1, 1), (2, 3), (1, 9), (4, 4)]
        orders = [("fixed", FIXED), ("exact", EXACT)]
        tasks = [work(*orders[i % 2], *shape) for i, shape in enumerate(shapes)]
        return await asyncio.gather(*tasks)

    assert all(scope.uncovered == {} for scope in asyncio.run(main()))


def test_coroutines_resumed_by_hand_do_not_exchange_their_orders():
    @types.coroutine
    def pause():
        yield

    async def work(order, wanted):
        with ordered(order):
            for _ in range(2):
                assert_bits(X.sum(1), wanted)
                await pause()
        assert is_plain(X.sum(1))

    one, other = work("fixed", FIXED), work("exact", EXACT)
    for each in (one, other, one, other):
        each.send(None)
        assert is_plain(X.sum(1))
    for each in (one, other):  # the first opened is closed first
        with pytest.raises(StopIteration):
            each.send(None)
        assert is_plain(X.sum(1))


def test_tasks_started_inside_are_inside():
    async def part():
        await asyncio.sleep(0)
        return X.sum(1)

    async def inside():
        with ordered("exact") as scope:
            results = await asyncio.gather(part(), part())
            results.append(await asyncio.wait_for(part(), 60))
            results += await decorated()
        return results, scope

    @ordered("exact")
    async def decorated():
        return await asyncio.gather(part(), part())

    async def outside():
        for _ in range(9):
            assert is_plain(X.sum(1))
            await asyncio.sleep(0)

    async def main():
        return (await asyncio.gather(inside(), outside()))[0]

    results, scope = asyncio.run(main())
    for each in results:
        assert_bits(each, EXACT)
    assert scope.uncovered == {}


class Manager:
    async def __aenter__(self):
        await asyncio.sleep(0)
        self.scope = ordered("exact")
        self.scope.__enter__()

    async def __aexit__(self, *error):
        await asyncio.sleep(0)
        self.scope.__exit__(*error)


@contextlib.contextmanager
def managed():
    with ordered("exact"):
        yield


@contextlib.contextmanager
def managed_twice():
    with managed():
        yield


@contextlib.asynccontextmanager
async def managed_async():
    await asyncio.sleep(0)
    with ordered("exact"):
        yield


@contextlib.contextmanager
def on_a_stack():
    with contextlib.ExitStack() as stack:
        stack.enter_context(ordered("exact"))
        stack.enter_context(managed())
        yield


MANAGERS = {
    "function": managed,
    "nested": managed_twice,
    "ExitStack": on_a_stack,
    "scope": lambda: ordered("exact"),
}


@pytest.mark.parametrize("name", MANAGERS)
def test_context_managers_made_from_generators(name):
    with MANAGERS[name]():
        assert_bits(X.sum(1), EXACT)
    assert is_plain(X.sum(1))

    def numbers():
        with MANAGERS[name]():
            yield X.sum(1)

    for each in numbers():
        assert_bits(each, EXACT)
        assert is_plain(X.sum(1))


@pytest.mark.parametrize("name", [*MANAGERS, "asynccontextmanager", "class", "AsyncExitStack"])
def test_context_managers_in_tasks(name):
    async def work():
        async with contextlib.AsyncExitStack() as stack:
            if name in MANAGERS:
                stack.enter_context(MANAGERS[name]())
            elif name == "AsyncExitStack":
                await stack.enter_async_context(managed_async())
            else:
                manager = managed_async() if name == "asynccontextmanager" else Manager()
                async with manager:
                    assert_bits(X.sum(1), EXACT)
                    await asyncio.sleep(0)
                    assert_bits(X.sum(1), EXACT)
                return
            assert_bits(X.sum(1), EXACT)
            await asyncio.sleep(0)
            assert_bits(X.sum(1), EXACT)

    async def other():
        for _ in range(9):
            assert is_plain(X.sum(1))
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(work(), other(), work())

    asyncio.run(main())


def test_an_asynchronous_generator_does_not_leak():
    async def numbers():
        with ordered("exact"):
            for _ in range(3):
                await asyncio.sleep(0)
                yield X.sum(1)

    async def main():
        async for each in numbers():
            assert_bits(each, EXACT)
            assert is_plain(X.sum(1))

    asyncio.run(main())


def test_scopes_left_in_the_order_in_which_they_were_entered():
    one, other = ordered("fixed"), ordered("exact")
    one.__enter__()
    other.__enter__()
    assert_bits(X.sum(1), EXACT)
    one.__exit__()
    assert_bits(X.sum(1), EXACT)
    other.__exit__()
    assert is_plain(X.sum(1))


def test_other_modes_stay_where_they_are():
    class Doubles(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            return result * 2 if func is torch.ops.aten.sum.dim_IntList else result

    scope = ordered("exact")
    scope.__enter__()
    with Doubles():
        assert_bits(X.sum(1), EXACT * 2)
        scope.__exit__()
        assert_bits(X.sum(1), PLAIN * 2)


def test_a_scope_left_in_another_thread_is_refused():
    scope = ordered("exact")
    worker = threading.Thread(target=scope.__enter__)
    worker.start()
    worker.join()
    with pytest.raises(RuntimeError, match="left in another"):
        scope.__exit__()


def test_an_exception_in_a_task_closes_its_scope_only():
    async def fails():
        with ordered("fixed"):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    async def works():
        with ordered("exact"):
            for _ in range(4):
                await asyncio.sleep(0)
                assert_bits(X.sum(1), EXACT)

    async def main():
        return await asyncio.gather(fails(), works(), fails(), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert isinstance(first, ZeroDivisionError)
    assert second is None
    assert isinstance(third, ZeroDivisionError)
