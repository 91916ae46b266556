"""Test that other bits are found and named: on the emulated CUDA kernels with planted defects, in
wrong digests, in kernels that raise.
"""

import random
import tomllib
from functools import partial
from pathlib import Path

import pytest
import torch

import nondet_ext
from factories.checked_devices import DTYPES, emulated, flip_byte
from nondet.checking.devices import cpu_device
from nondet.checking.digests.cases import digest
from nondet.checking.digests.ops import DIGESTS, permanent_digests
from nondet.checking.edges import edges
from nondet.checking.groups import (
    MOST_NAMED,
    MOST_RAISED,
    Group,
    check_groups,
    compared_with,
    computing_on,
    is_quick,
    permanent_groups,
    seed_of,
)
from nondet.checking.results import Part

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = cpu_device("generic", 1)


def family(name):
    [group] = [each for each in permanent_groups(REFERENCE) if each.name == name]
    return group


def checked(device, *groups, takes=lambda name: True):
    part = Part("digests", device.name)
    check_groups(part, device, list(groups), takes)
    return part


def test_the_emulated_kernels_have_the_permanent_digests():
    part = checked(emulated(), family("neighbors"), family("dots"), takes=is_quick)
    assert part.compared > 60
    assert part.differences == []


def test_a_wrong_bit_for_one_dtype_is_found_and_named():
    def defect(name, arguments):
        if name == "neighbor" and arguments["dtype"] == DTYPES[torch.bfloat16]:
            flip_byte(arguments["out"] + 2 * (arguments["n"] - 1))

    part = checked(
        emulated(defect), family("neighbors"), takes=lambda name: name.startswith("next_up")
    )
    names = {each.case for each in part.differences}
    assert {each.dtype for each in part.differences} == {"bfloat16"}
    assert {"next_up/bfloat16/odd", "next_up/bfloat16/contiguous"} <= names
    [found] = [each for each in part.differences if each.case == "next_up/bfloat16/odd"]
    assert (found.op, found.device, found.shape) == ("next_up", "emulated", "(4099,)")
    assert found.element == "element (4098,)"
    assert int(found.expected, 16) ^ int(found.found, 16) == 1
    assert len(found.expected) == len("0x1234")
    assert found.why == "differs from cpu generic, 1 thread"


def test_a_seeded_sum_is_named_with_its_seed():
    def defect(name, arguments):
        if name == "dot" and tuple(arguments["key"]) == (7, 1, 2, 3):
            flip_byte(arguments["out"])

    def takes(name):
        return name.startswith("dot/float32") and name.endswith("contiguous")

    part = checked(emulated(defect), family("dots"), takes=takes)
    [found] = part.differences
    assert found.case == "dot/float32/seeded-by-four/contiguous"
    assert found.seed == "(7, 1, 2, 3)"
    assert part.compared == 4


def test_seeds_are_those_of_the_order():
    assert seed_of("sum/float32/seeded/rows") == "7"
    assert seed_of("sum/float32/fixed/rows") == seed_of("next_up/float32/odd") == ""


def test_a_wrong_digest_is_told_from_a_wrong_result():
    group = family("neighbors")
    wrong = {**group.expected, "spacing/float32/odd": "0123456789abcdef"}
    planted = Group(group.name, group.cases, wrong, group.again, group.source)
    part = checked(cpu_device("generic", 2), planted)
    [found] = part.differences
    right = group.expected["spacing/float32/odd"]
    assert found.case == "spacing/float32/odd"
    assert found.why == (
        f"has the digest {right} and not 0123456789abcdef; that of cpu generic, 1 thread is {right}"
    )


def test_a_kernel_that_raises_is_named_and_ends_the_group():
    def defect(name, arguments):
        if name == "spacing":
            raise RuntimeError("an illegal memory access\nmore lines")

    def takes(name):
        return name.startswith("spacing") and not name.endswith("empty")

    part = checked(emulated(defect), family("neighbors"), takes=takes)
    assert len(part.differences) == MOST_RAISED
    assert {each.why for each in part.differences} == {
        "raised RuntimeError: an illegal memory access"
    }
    assert part.notes == [f"neighbors ended after {MOST_RAISED} calls in a row that raised"]


def test_a_call_that_raises_on_the_reference_alone_is_a_difference():
    calls = iter([ValueError("none yet"), torch.ones(2)])

    def compute():
        result = next(calls)
        if isinstance(result, Exception):
            raise result
        return result

    group = compared_with("odd", lambda: iter([("sum/float32/odd", compute)]), REFERENCE)
    part = checked(REFERENCE, group)
    [found] = part.differences
    assert found.case == "sum/float32/odd"
    assert "raised" in found.why


def test_names_of_calls_are_distinct():
    one = "sum/float32/n=2", lambda: torch.ones(2)
    with pytest.raises(ValueError, match="two calls are named 'sum/float32/n=2'"):
        compared_with("twice", lambda: iter([one, one]), REFERENCE)


def test_bits_are_told_in_hexadecimal():
    right = torch.ones(2)
    cases = lambda: iter([("sum/float32/n=2", lambda: torch.zeros(2))])  # noqa: E731
    group = Group("odd", cases, {"sum/float32/n=2": digest(right)}, lambda name: right, "x")
    [found] = checked(REFERENCE, group).differences
    assert (found.expected, found.found) == ("0x3f800000", "0x00000000")


def test_many_differences_are_all_counted_and_some_explained():
    names = [f"sum/float32/{number}" for number in range(MOST_NAMED + 5)]
    cases = lambda: ((name, lambda: torch.zeros(1)) for name in names)  # noqa: E731
    right = torch.ones(1)
    group = Group("odd", cases, dict.fromkeys(names, digest(right)), lambda name: right, "x")
    part = checked(REFERENCE, group)
    assert [each.case for each in part.differences] == names
    assert sum(bool(each.found) for each in part.differences) == MOST_NAMED
    assert part.differences[-1].why == "has other bits"


@pytest.mark.parametrize("isa", nondet_ext.build_info()["cpu_isas"])
def test_edges_have_the_same_bits_on_every_path(isa):
    group = compared_with("edges", partial(edges, (1, 33, 1025), ("float32",)), REFERENCE)
    part = checked(cpu_device(isa, 3), group)
    assert part.compared == len(group.expected) > 700
    assert part.differences == []


def test_edges_have_the_same_bits_on_the_emulated_kernels():
    group = compared_with("edges", partial(edges, (33,), ("bfloat16",)), REFERENCE)
    part = checked(emulated(seed=3), group)
    assert part.compared == len(group.expected) > 300
    assert part.differences == []


def test_every_op_with_kernels_is_compared_at_edges():
    held = {name.split("/")[0] for each in permanent_digests().values() for name in each}
    alone = {"CKA", "linear_cka", "ordered", "qrnn", "spearman_files"}  # calls of the others
    assert {name.split("/")[0] for name, _ in edges((2,), ("float32",))} == held - alone


def test_the_digests_are_part_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    held = Path("checking", "digests", DIGESTS.name)
    assert (ROOT / "python" / "nondet" / held).is_file()
    assert any(held.match(pattern) for pattern in settings["package-data"]["nondet"])


def test_a_device_is_left_as_it_was():
    before = torch.get_num_threads(), nondet_ext.build_info()["cpu_isa"]
    with computing_on(cpu_device("generic", 3)):
        assert torch.get_num_threads() == 3
        assert nondet_ext.build_info()["cpu_isa"] == "generic"
    with pytest.raises(KeyboardInterrupt), computing_on(cpu_device("generic", 3)):
        raise KeyboardInterrupt
    assert (torch.get_num_threads(), nondet_ext.build_info()["cpu_isa"]) == before


def test_a_quick_check_takes_one_float_dtype():
    every = [name for each in permanent_digests().values() for name in each]
    random.Random(0).shuffle(every)
    chosen = [name for name in every if is_quick(name)]
    dtypes = {name.split("/")[1] for name in chosen}
    assert {"float32", "int64", "bool", "uint32"} <= dtypes
    assert not {"float64", "float16", "bfloat16"} & dtypes
    assert not any("gradient" in name for name in chosen)
