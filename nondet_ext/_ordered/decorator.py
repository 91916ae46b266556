"""Functions that run in a scope: ordinary ones, generators, coroutines, asynchronous generators."""

import contextlib
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Protocol


class Scope(Protocol):
    """A scope that can be open in one stretch of time after another."""

    def open(self) -> None: ...
    def suspend(self) -> None: ...
    def close(self) -> None: ...


Opened = Callable[[], Scope]  # makes a scope and opens it


def decorate(function: Any, opened: Opened) -> Any:
    """Return a function of the same kind whose every call runs in a scope of its own.

    The scope of a generator is open while its own code runs, and not while it is suspended. A
    generator or coroutine that an ordinary function returns runs in the scope of the call.

    Raises:
        TypeError: `function` is a class or cannot be called. At a call: it returns a context
            manager that contextlib made from a generator, whose code has not run yet.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorate(function.__func__, opened))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"ordered(...) decorates functions and methods, got {function!r}")
    if inspect.isasyncgenfunction(function):
        in_scope = _async_generator(function, opened)
    elif inspect.iscoroutinefunction(function):
        in_scope = _coroutine(function, opened)
    elif inspect.isgeneratorfunction(function):
        in_scope = _generator(function, opened)
        if _flags(function) & inspect.CO_ITERABLE_COROUTINE:
            in_scope = types.coroutine(in_scope)
    else:
        in_scope = _plain(function, opened)
    return functools.wraps(function)(in_scope)


def _plain(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    def in_scope(*args: Any, **kwargs: Any) -> Any:
        scope = opened()
        try:
            result = function(*args, **kwargs)
        except BaseException:
            scope.close()
            raise
        if not isinstance(result, _LATER):
            scope.close()
            return result
        return _continued(result, scope)

    return in_scope


def _generator(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    def in_scope(*args: Any, **kwargs: Any) -> Any:
        scope = opened()
        scope.suspend()
        try:
            generator = function(*args, **kwargs)
            resume, value = generator.send, None
            while True:
                scope.open()
                try:
                    item = resume(value)
                except StopIteration as end:
                    return end.value
                finally:
                    scope.suspend()
                try:
                    resume, value = generator.send, (yield item)
                except BaseException as error:
                    resume, value = generator.throw, error
        finally:
            scope.close()

    return in_scope


def _coroutine(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    async def in_scope(*args: Any, **kwargs: Any) -> Any:
        scope = opened()
        try:
            return await function(*args, **kwargs)
        finally:
            scope.close()

    return in_scope


def _async_generator(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    async def step(scope: Scope, awaitable: Any) -> Any:
        scope.open()
        try:
            return await awaitable
        finally:
            scope.suspend()

    async def in_scope(*args: Any, **kwargs: Any) -> Any:
        scope = opened()
        scope.suspend()
        try:
            generator = function(*args, **kwargs)
            resume, value = generator.asend, None
            while True:
                try:
                    item = await step(scope, resume(value))
                except StopAsyncIteration:
                    return
                try:
                    resume, value = generator.asend, (yield item)
                except GeneratorExit:
                    await step(scope, generator.aclose())
                    raise
                except BaseException as error:
                    resume, value = generator.athrow, error
        finally:
            scope.close()

    return in_scope


# What contextlib makes from a generator function.
_Manager = contextlib._GeneratorContextManagerBase
_LATER = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, _Manager)


def _continued(result: Any, scope: Scope) -> Any:
    """Return the generator or coroutine that runs `result`, which an ordinary function returned, in
    its scope.
    """
    scope.suspend()

    def opened() -> Scope:
        scope.open()
        return scope

    if isinstance(result, types.AsyncGeneratorType):
        return _async_generator(lambda: result, opened)()
    if isinstance(result, types.CoroutineType):
        return _coroutine(lambda: result, opened)()
    if isinstance(result, types.GeneratorType):
        run = _generator(lambda: result, opened)
        is_coroutine = result.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE
        if is_coroutine:
            run = types.coroutine(run)
        return run()
    raise TypeError(
        "a function decorated with ordered(...) returned a context manager, whose code would run "
        "outside: put ordered(...) below contextmanager, or enter a scope in its code"
    )


def _flags(function: Any) -> int:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return 0 if code is None else code.co_flags
