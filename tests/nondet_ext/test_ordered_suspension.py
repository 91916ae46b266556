"""Test scopes of nondet_ext.ordered in code that Python suspends: generators, coroutines,
asynchronous generators, and context managers made from them.
"""

import asyncio
import contextlib
import threading
import types

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from factories.ordered_inputs import X, assert_bits
from factories.suspended_scopes import EXACT, FIXED, PLAIN, is_plain
from factories.suspended_scopes import stacks_are_left_as_they_were as stacks_are_left_as_they_were
from nondet_ext.ordering import ordered

WHILE_SUSPENDED = "aten::sum (while suspended)"


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
