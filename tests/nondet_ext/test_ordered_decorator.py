"""Test functions of every kind, also those that Python suspends, decorated with a scope of
nondet_ext.ordered.
"""

import asyncio
import contextlib
import inspect
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import torch

from factories.ordered_inputs import TABLE, X, assert_bits
from factories.suspended_scopes import EXACT, FIXED, is_plain, total
from factories.suspended_scopes import stacks_are_left_as_they_were as stacks_are_left_as_they_were
from nondet_ext import summation
from nondet_ext.ordering import ordered


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
