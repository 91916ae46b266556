"""What checks find."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nondet.checking.digests.cases import bytes_of


@dataclass(frozen=True)
class Difference:
    """A result that has other bits than it must have, or an op that raised.

    part, device: the check that found it, and where. case: "op/dtype/order/input", which names the
    inputs; seed: that of the order. shape: of the result. element: the first one that differs, and
    its bits in hexadecimal, expected and found; "" where there is none. why: in words.
    """

    part: str
    device: str
    case: str
    why: str
    shape: str = ""
    seed: str = ""
    element: str = ""
    expected: str = ""
    found: str = ""

    @property
    def op(self) -> str:
        """Return the name of the op."""
        return self.case.split("/")[0]

    @property
    def dtype(self) -> str:
        """Return the dtype of the input."""
        return (*self.case.split("/"), "")[1]


@dataclass(frozen=True)
class Variation:
    """How many different results repeated calls of an op in the atomic order had."""

    device: str
    case: str
    runs: int
    results: int


@dataclass
class Part:
    """A check on a device: how many results it compared, in how many seconds, and what it found.
    notes: what readers must know. left_out: why it did not run, or "".
    """

    name: str
    device: str
    compared: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: str = ""


@dataclass(frozen=True)
class Apart:
    """The first element at which two results differ; the fields are those of `Difference`."""

    shape: str
    element: str
    expected: str
    found: str


def first_difference(expected: Any, found: Any) -> Apart | None:
    """Return where two results differ first, or None if all their bits are equal.

    expected, found: tensors, integers, or sequences of results. Sequences are compared in order;
    an element is named by its place in them and its index: "result 2, element (0, 3)".
    """
    left, right = list(_flat(expected)), list(_flat(found))
    if len(left) != len(right):
        return Apart("", "", f"{len(left)} results", f"{len(right)} results")
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        apart = _apart(one, other)
        if apart is not None:
            place = f"result {number}, " if len(left) > 1 else ""
            return Apart(apart.shape, place + apart.element, apart.expected, apart.found)
    return None


def same_bits(one: Any, other: Any) -> bool:
    """Return True if two results have the same dtypes, shapes and bits. Tensors of one device are
    compared there.
    """
    left, right = list(_flat(one)), list(_flat(other))
    return len(left) == len(right) and all(map(_same, left, right))


def copied(result: Any) -> Any:
    """Return a result with its tensors on the CPU."""
    if isinstance(result, torch.Tensor):
        return result.detach().cpu()
    if isinstance(result, list | tuple):
        return [copied(each) for each in result]
    return result


def _flat(result: Any) -> Iterator[Any]:
    if isinstance(result, list | tuple):
        for each in result:
            yield from _flat(each)
    else:
        yield result


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return type(one) is type(other) and bool(one == other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(bytes_of(one), bytes_of(other.to(one.device)))


def _apart(one: Any, other: Any) -> Apart | None:
    if _same(one, other):
        return None
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return Apart("", "value", str(one), str(other))
    one, other = copied(one), copied(other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return Apart(str(tuple(other.shape)), "all", _kind(one), _kind(other))
    width = one.element_size()
    left, right = (bytes_of(each).reshape(-1, width) for each in (one, other))
    place = int((left != right).any(1).nonzero()[0])
    index = tuple(int(each) for each in torch.unravel_index(torch.tensor(place), one.shape))
    shape = str(tuple(one.shape))
    return Apart(shape, f"element {index}", _hexadecimal(left[place]), _hexadecimal(right[place]))


def _kind(x: torch.Tensor) -> str:
    return f"{x.dtype} {tuple(x.shape)}"


def _hexadecimal(data: torch.Tensor) -> str:
    """Return the bits of one element, its most significant byte first."""
    values: Sequence[int] = data.tolist()
    return "0x" + bytes(reversed(values)).hex()
