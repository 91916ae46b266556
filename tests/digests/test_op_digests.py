"""Test that every op gives the bits in op_digests.json, on each instruction set of the processor,
with one thread and with three.

`op_digests.json` in `python/nondet/checking/digests` holds, by "op/dtype/order/input", a digest of
the dtype, the shape and the bits of a result or of gradients. `nondet selftest` compares them on
users' machines. Inputs are made by integer arithmetic, so the digests do not depend on the versions
of Python, NumPy and torch. Results that docs/numerics.md does not promise are left out: the order
"atomic", the bits of NaN that arithmetic makes, and torch's functions, such as matrix products of
numbers that are not exact.

`python tests/digests/update.py ops` writes the file again and lists the changes. A changed digest
means that users get other bits: CHANGELOG.md names each intended change.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch

import nondet_ext
from nondet.checking.digests.cases import computed, digest
from nondet.checking.digests.ops import FAMILIES, permanent_digests
from nondet_ext.instruction_sets import instruction_set

EXPECTED = permanent_digests()

COMPUTE_NOTHING = {
    "build_info": "describes the compiled module",
    "DegenerateInputWarning": "is a warning",
    "FlipRecord": "is what random_flip returns; its fields and undo() are in random_flip's digests",
}
"""Public callables without digests -> reason."""


def changed_within(
    family: str, within: Callable[[], AbstractContextManager[None]], takes: Callable[[str], bool]
) -> list[str]:
    """Return the names of the results of a family that have other bits than the file if they are
    computed inside of a context. `takes` chooses by name; there must be a result.
    """
    expected = EXPECTED[family]
    changed = []
    count = 0
    for name, compute in FAMILIES[family]():  # inputs are made outside of the context
        if name not in expected or not takes(name):
            continue
        with within():
            result = compute()
        count += 1
        if digest(result) != expected[name]:
            changed.append(name)
    assert count
    return changed


@pytest.fixture(params=nondet_ext.build_info()["cpu_isas"])
def cpu_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    with instruction_set(request.param):
        yield request.param


@pytest.fixture(params=[1, 3], ids=["one-thread", "three-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("cpu_isa", "threads")
@pytest.mark.parametrize("family", FAMILIES)
def test_bits_are_those_of_the_file(family):
    expected = EXPECTED[family]
    found = computed(FAMILIES[family]())
    assert found.keys() == expected.keys()
    changed = {name for name, value in found.items() if value != expected[name]}
    assert not changed, f"{len(changed)} of {len(found)} results have other bits"


def test_every_public_op_has_digests():
    public = {
        name
        for name, value in vars(nondet_ext).items()
        if callable(value) and not name.startswith("_")
    }
    held = {name.split("/")[0] for family in EXPECTED.values() for name in family}
    assert held.isdisjoint(COMPUTE_NOTHING)
    assert held | COMPUTE_NOTHING.keys() == public
