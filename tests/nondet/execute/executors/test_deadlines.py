"""Test calls with deadlines, and what is said of errors and their causes."""

import threading

import pytest

from nondet.execute.executors import ExecutorError
from nondet.execute.executors.deadlines import Caller, causes_of


@pytest.fixture
def caller():
    found = Caller()
    yield found
    found.end()


def test_values_and_errors_pass(caller):
    assert caller.within(600, "counting", lambda: 3) == 3
    assert caller.within(600, "counting", lambda: None) is None
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        caller.within(600, "dividing", lambda: 1 / 0)


def test_one_thread_makes_all_calls_and_lives_until_its_end(caller):
    """Linux ends Ray's processes with the thread that started them."""
    first = caller.within(600, "asking", threading.current_thread)
    assert caller.within(600, "asking", threading.current_thread) is first
    assert first is not threading.current_thread()
    assert first.is_alive()
    caller.end()
    first.join(600)
    assert not first.is_alive()
    caller.end()
    assert caller.within(600, "asking", threading.current_thread) is not first


def test_a_call_that_does_not_return_is_left_and_others_are_made(caller):
    released = threading.Event()
    with pytest.raises(ExecutorError, match=r"^asking for nodes has taken more than 0\.01 s$"):
        caller.within(0.01, "asking for nodes", lambda: released.wait(600))
    assert caller.within(600, "counting", lambda: 3) == 3
    released.set()


def chain(*texts):
    """Return an error whose causes have these texts, the first that of the error itself."""
    error = None
    for text in reversed(texts):
        new = RuntimeError(text)
        new.__cause__ = error
        error = new
    return error


def test_causes_are_named_once_each_by_their_first_lines():
    error = chain("cannot connect\ntraceback", "cannot connect", "", "the token is wrong")
    assert (
        causes_of(error) == "cannot connect; caused by: RuntimeError; caused by: the token is wrong"
    )
    assert causes_of(KeyError("x")) == "'x'"
    assert causes_of(OSError()) == "OSError"


def test_of_a_traceback_in_a_message_the_error_is_kept():
    """Ray puts the refusal of a token there."""
    text = "no connection: Traceback (most recent call last):\n  File ...\nError: wrong token\n"
    assert causes_of(chain("no cluster", text)) == "no cluster; caused by: Error: wrong token"


def test_the_context_of_an_error_is_its_cause_unless_it_is_hidden():
    error = TypeError("second")
    error.__context__ = ValueError("first")
    assert causes_of(error) == "second; caused by: first"
    error.__suppress_context__ = True  # as `raise ... from None` does
    assert causes_of(error) == "second"


def test_a_circle_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert causes_of(first) == "a; caused by: b"
