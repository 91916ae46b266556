"""Test how scopes of nondet_ext.ordered open, nest, close and print."""

import threading

import pytest
import torch

from factories.ordered_inputs import (
    INDEX,
    ROWS,
    TABLE,
    X,
    assert_bits,
    gradient,
    rows_added,
)
from nondet_ext import summation
from nondet_ext.ordering import ordered


def test_the_report_prints_in_one_line():
    with ordered() as scope:
        for _ in range(3):
            TABLE.T @ TABLE
        TABLE.cumsum(0)
    assert scope.uncovered == {"aten::mm": 3, "aten::cumsum": 1}
    assert str(scope.uncovered) == "not covered: aten::mm (3x), aten::cumsum (1x)"
    assert scope.uncovered["aten::bmm"] == 0


def test_every_sum_of_a_seeded_scope_has_its_own_order_and_the_block_replays():
    def block(seed: object) -> list[torch.Tensor]:
        with ordered("seeded", seed=seed):
            return [X.sum() for _ in range(10)]

    one, again, other, step = block(7), block((7,)), block(8), block((7, 1))
    assert [float(x) for x in one] == [float(x) for x in again]
    assert len({float(x) for x in one}) > 1
    assert [float(x) for x in one] != [float(x) for x in other]
    assert [float(x) for x in one] != [float(x) for x in step]
    assert_bits(one[3], summation.sum(X, order="seeded", seed=(7, 3)))
    assert_bits(step[3], summation.sum(X, order="seeded", seed=(7, 3, 1)))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"order": "random"}, ValueError, "order must be"),
        ({"order": "seeded"}, ValueError, "takes a seed"),
        ({"order": "fixed", "seed": 1}, ValueError, "seed is for"),
        ({"order": "seeded", "seed": (1, 2, 3)}, ValueError, "one or two integers"),
        ({"order": "seeded", "seed": 2**32}, ValueError, "seed must be in"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        ordered(**arguments)


def test_the_innermost_scope_decides():
    with ordered("fixed") as outer:
        with ordered("exact") as inner:
            assert_bits(X.sum(1), summation.sum(X, 1, order="exact"))
            TABLE.T @ TABLE
        assert_bits(X.sum(1), summation.sum(X, 1, order="fixed"))
        assert_bits(summation.sum(X, 1, order="exact"), summation.sum(X, 1, order="exact"))
        with ordered("exact"):
            assert_bits(X.sum(1), summation.sum(X, 1, order="exact"))
            assert_bits(
                gradient(lambda x: x[INDEX], TABLE, ROWS),
                rows_added(torch.zeros(20, 6), INDEX, ROWS, order="exact"),
            )
    assert inner.uncovered == {"aten::mm": 1}
    assert outer.uncovered == {"aten::mm": 1}
    assert not torch.equal(summation.sum(X, 1, order="exact"), summation.sum(X, 1, order="fixed"))


def test_an_exception_closes_the_scope():
    before = torch._C._len_torch_dispatch_stack()
    scope = ordered()
    with pytest.raises(ZeroDivisionError), scope:
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="shape"), scope:
        TABLE @ TABLE
    with pytest.raises(IndexError), scope:
        X.sum(7)
    assert torch._C._len_torch_dispatch_stack() == before
    assert torch._C._len_torch_function_stack() == 0
    with scope:
        assert_bits(X.sum(), summation.sum(X))


def test_an_open_scope_is_not_entered_again():
    scope = ordered()
    with scope:
        with pytest.raises(RuntimeError, match="open already"), scope:
            pass
        assert_bits(X.sum(), summation.sum(X))
    with scope:
        TABLE.T @ TABLE
    assert scope.uncovered == {"aten::mm": 1}
    with scope:
        pass
    assert scope.uncovered == {}


def test_the_decorator_opens_a_scope_per_call():
    decorate = ordered("seeded", seed=3)

    @decorate
    def total(depth: int) -> torch.Tensor:
        """Documented."""
        TABLE.T @ TABLE
        return total(depth - 1) if depth else X.sum()

    for depth in (0, 2):
        assert_bits(total(depth), summation.sum(X, order="seeded", seed=(3, 0)))
    assert total.__doc__ == "Documented."
    assert decorate.uncovered == {"aten::mm": 1 + 3 + 2 + 1}


def test_each_thread_has_its_own_scopes():
    results: dict[str, torch.Tensor] = {}
    meet = threading.Barrier(3, timeout=60)

    def work(order: str) -> None:
        with ordered(order):
            meet.wait()
            results[order] = X.sum()
            meet.wait()

    workers = [threading.Thread(target=work, args=(order,)) for order in ("fixed", "exact")]
    for worker in workers:
        worker.start()
    plain = X.sum()
    meet.wait()
    assert torch.equal(X.sum(), plain)
    meet.wait()
    for worker in workers:
        worker.join()
    for order, result in results.items():
        assert_bits(result, summation.sum(X, order=order))


def test_a_thread_started_inside_is_outside():
    results = []
    with ordered() as scope:
        worker = threading.Thread(target=lambda: results.append(TABLE.T @ TABLE))
        worker.start()
        worker.join()
    assert len(results) == 1
    assert scope.uncovered == {}
