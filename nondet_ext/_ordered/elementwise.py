"""Which operators are functions of single elements, and which are one operation of IEEE 754.

Torch computes most of a tensor with vector instructions and the rest of each thread's share with
scalar ones. The two agree for single operations of IEEE 754; alike.py computes the other functions.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch

aten = torch.ops.aten


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUSED = _names("""
    _fused_adagrad _fused_adagrad_ _fused_adam _fused_adam_ _fused_adamw _fused_adamw_ _fused_sgd
    _fused_sgd_
""")
# Functions of elements that torch does not tag as such.
UNTAGGED = FUSED | _names("""
    _add_relu _amp_foreach_non_finite_check_and_unscale_ _prelu_kernel _prelu_kernel_backward
    binary_cross_entropy_backward elu_backward floor_divide floor_divide_ glu glu_backward
    hardsigmoid_backward hardswish hardswish_ hardswish_backward hardtanh_backward
    huber_loss_backward leaky_relu_backward log_sigmoid_backward log_sigmoid_forward mish_backward
    mse_loss_backward polar rrelu_with_noise_backward smooth_l1_loss_backward
    soft_margin_loss_backward softplus_backward softshrink_backward hardshrink_backward
""")
# Torch tags these, though they add several terms for each element.
_ADDS_TERMS = _names("mvlgamma mvlgamma_")

# Of real numbers: selections, comparisons, and operations of which each is rounded. Left out are
# maximum and others whose vector instructions choose another zero, or treat NaN in another way, and
# sqrt, which MKL does not always round to the nearest number.
_ONE_OPERATION = _names("""
    __lshift__ __rshift__ __xor__ __ilshift__ __irshift__ __ixor__ abs add bitwise_and
    bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clone
    conj_physical copysign deg2rad div eq floor fmax fmin frac frexp gcd ge gt hardshrink hardtanh
    heaviside isfinite isinf isnan isneginf isposinf lcm le leaky_relu logical_and logical_not
    logical_or logical_xor lt masked_fill mul nan_to_num native_dropout_backward ne neg nextafter
    positive rad2deg reciprocal relu relu6 round rsub sgn sign signbit square sub threshold
    threshold_backward true_divide trunc where
    _add_relu _amp_foreach_non_finite_check_and_unscale_ _prelu_kernel leaky_relu_backward
    mse_loss_backward
""")
_WITH_NUMBERS = _names("clamp clamp_max clamp_min clip")
_OF_COMPLEX = _names("""
    add clone conj_physical eq isfinite isinf isnan logical_and logical_not logical_or
    logical_xor masked_fill ne positive rsub sub where
""")
_OF_INTEGERS = _names("""
    addcmul clamp clamp_max clamp_min clip div floor_divide fmod max maximum min minimum pow
    remainder
""")


@functools.cache
def is_elementwise(op: torch._ops.OpOverload) -> bool:
    """Return True for functions of the elements at one position, random draws and questions
    about whole tensors excluded."""
    if {torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output} & set(op.tags):
        return False
    if op.namespace != "aten":
        return torch.Tag.pointwise in op.tags
    packet = op.overloadpacket.__name__
    if packet in UNTAGGED or packet in _ADDS_TERMS:
        return packet in UNTAGGED
    # Torch tags only some overloads of a function (in place, out=). Others are reductions: max.dim.
    if packet.startswith("_foreach_"):
        packet = packet.removeprefix("_foreach_")
        return packet not in ("max", "min") and any(map(_is_tagged, _relatives(packet)))
    inputs = inputs_of(op)
    return any(_is_tagged(each) and inputs_of(each) == inputs for each in _relatives(packet))


def _is_tagged(op: torch._ops.OpOverload) -> bool:
    return torch.Tag.pointwise in op.tags


def inputs_of(op: torch._ops.OpOverload) -> list[tuple[str, str]]:
    """Return names and types of the arguments that are not written to."""
    return [(a.name, str(a.type)) for a in op._schema.arguments if not a.is_out]


def _relatives(packet: str) -> Iterator[torch._ops.OpOverload]:
    for name in {packet, packet.removesuffix("_")}:
        family = getattr(aten, name, None)
        for overload in family.overloads() if family is not None else ():
            try:
                yield getattr(family, overload)
            except RuntimeError:  # TorchScript's overloads on numbers are not dispatched
                continue


@functools.cache
def exactness_of(op: torch._ops.OpOverload) -> "Exactness | None":
    """Return for which elements an operator is a single operation, None if not elementwise."""
    return Exactness(op) if is_elementwise(op) else None


class Exactness:
    """For which elements an operator is a single operation."""

    def __init__(self, op: torch._ops.OpOverload) -> None:
        full = op.overloadpacket.__name__ if op.namespace == "aten" else ""
        packet = full.removeprefix("_foreach_")
        self._is_fused = full in FUSED
        self._takes_lists = any("List[Tensor]" in str(a.type) for a in op._schema.arguments)
        names = {full, packet, packet if packet.startswith("__") else packet.removesuffix("_")}
        tensors = sum("Tensor" in kind for _, kind in inputs_of(op))
        self.of_real = bool(names & _ONE_OPERATION or (names & _WITH_NUMBERS and tensors == 1))
        self.of_complex = bool(names & _OF_COMPLEX)
        self.of_integers = bool(names & _OF_INTEGERS)
        # An argument that can make it more than that: its name, its place if it has one.
        self._parameter, self._at = "", -1
        for i, each in enumerate(op._schema.arguments):
            if each.name in ("alpha", "rounding_mode", "decimals"):
                self._parameter, self._at = each.name, -1 if each.kwarg_only else i

    def treats_all_alike(
        self, args: tuple[object, ...], kwargs: dict[str, object], tensors: list[torch.Tensor]
    ) -> bool:
        """Return True if a call gives every element of some value the same bits, wherever it lies:
        a single operation, or one on a device other than the CPU, where all elements take the same
        instructions.
        """
        if self._is_single_for(args, kwargs, tensors):
            return True
        if self._is_fused:  # the counts of steps may lie elsewhere
            return not any(each.is_cpu for each in tensors_in(args[0]))
        if self._takes_lists:
            return not any(each.is_cpu for each in tensors)
        return not all(each.is_cpu for each in tensors)  # numbers of the CPU may stand beside

    def _is_single_for(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[torch.Tensor]
    ) -> bool:
        if not self.of_real and not self.of_integers:
            return False
        if not (self.of_real and self.of_complex):
            values = (*args, *kwargs.values())
            if any(each.is_complex() for each in tensors) or any(
                isinstance(each, complex) for each in values
            ):
                return False
            if self.of_integers and not (
                any(each.is_floating_point() for each in tensors)
                or any(isinstance(each, float) for each in values)
            ):
                return True
        return self.of_real and (not self._parameter or self._is_harmless(args, kwargs))

    def _is_harmless(self, args: Any, kwargs: dict[str, Any]) -> bool:
        by_place = args[self._at] if 0 <= self._at < len(args) else None
        value = kwargs.get(self._parameter, by_place)
        if self._parameter == "alpha":
            return value is None or (isinstance(value, int | float) and value in (1, -1))
        return value is None or value == 0


def tensors_in(*trees: object) -> Iterator[torch.Tensor]:
    """Yield the tensors among an operator's arguments or results. Torch's pytree takes ten times as
    long.
    """
    for tree in trees:
        if isinstance(tree, torch.Tensor):
            yield tree
        elif isinstance(tree, tuple | list):
            yield from tensors_in(*tree)
        elif isinstance(tree, dict):
            yield from tensors_in(*tree.values())
