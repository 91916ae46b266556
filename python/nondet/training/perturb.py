"""Perturbations of single numbers of a training, recorded and reversible (paper, Sec. 4)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import nn

from nondet.keys import Key
from nondet.names import hint
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Onset, Seeds
from nondet.studies.specs import Change, PerturbationSpec
from nondet.studies.specs import Target as Target
from nondet.training.optimizers import named_state
from nondet_ext import flip_bit, flip_ulp, philox_bits, philox_randint

# The counter of each draw. The first two are those of nondet_ext.random_flip, which makes the same
# choice within one tensor.
_ELEMENT, _DIRECTION, _BIT = 0, 1, 2

_INTEGER_DTYPES = {8: torch.int64, 4: torch.int32, 2: torch.int16}  # by size in bytes


@dataclass(frozen=True)
class Choice:
    """An element to change: by one ULP in a direction (1 up, -1 down), or by inverting a bit (0 is
    the lowest). `index` is the logical (row-major) index into the tensor.
    """

    tensor: str
    index: int
    direction: int | None
    bit: int | None


@dataclass(frozen=True)
class Perturbation:
    """The record of a number that was changed.

    Attributes:
        index: logical (row-major) index into the tensor.
        step: number of optimizer steps done before.
        direction: 1 up, -1 down, None if a bit was inverted.
        bit: number of the inverted bit from the lowest, or None.
        old_value, new_value: None if not finite.
        old_bits, new_bits: bit patterns in hexadecimal.
    """

    target: Target
    tensor: str
    index: int
    step: int
    change: Change
    direction: int | None
    bit: int | None
    old_value: float | None
    new_value: float | None
    old_bits: str
    new_bits: str

    @torch.no_grad()
    def undo(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore the old bits, in place, in the tensor of that name.

        Raises ValueError if there is no such tensor or it is too small, RuntimeError if the element
        no longer has the bits that the change left; then nothing is changed.
        """
        tensor = _find_tensor(self.target, self.tensor, tensors)
        _check_index(self.index, self.tensor, tensor)
        now = _bits(tensor, self.index)
        if now != self.new_bits:
            raise RuntimeError(
                f"element {self.index} of {self.tensor!r} has changed since (bits {now}, expected "
                f"{self.new_bits}), so the change cannot be undone"
            )
        width = 8 * tensor.element_size()
        pattern = int(self.old_bits, 16)
        signed = pattern - (1 << width) if pattern >> (width - 1) else pattern
        _as_integers(tensor)[np.unravel_index(self.index, tensor.shape)] = signed


def perturbable(
    target: Target,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the live tensors of a target, by name, in the order of the model.

    weights: the parameters. gradient: the gradients of those parameters that have one. momentum:
    the optimizer's averages of past gradients, as "<parameter>.<slot>". statistics: running means
    and variances. pixel: `images`, the model's input batch, as "images".
    """
    if target == "weights":
        return dict(model.named_parameters())
    if target == "gradient":
        named = model.named_parameters()
        return {name: weight.grad for name, weight in named if weight.grad is not None}
    if target == "momentum":
        state = named_state(optimizer, model)
        return {name: slot for name, slot in state.items() if not name.endswith(".step")}
    if target == "statistics":
        return _statistics(model)
    if images is None:
        raise ValueError("the target is 'pixel', but no images are given")
    return {"images": images}


def check(spec: PerturbationSpec, model: nn.Module, batch_shape: tuple[int, ...]) -> None:
    """Check a perturbation before a training begins. Raises ValueError if it names a tensor, an
    element or a bit that the training will not have.

    batch_shape: (n, channels, height, width). Momentum is not checked: the optimizer has not made
    it yet.
    """
    if spec.target == "momentum":
        return
    stand_ins: Mapping[str, torch.Tensor] = {"images": torch.empty(batch_shape, device="meta")}
    if spec.target == "statistics":
        stand_ins = _statistics(model)
    elif spec.target != "pixel":
        stand_ins = dict(model.named_parameters())
    draw(spec, stand_ins, Key(0, 0))


def draw(spec: PerturbationSpec, tensors: Mapping[str, torch.Tensor], key: Key) -> Choice:
    """Choose the element that a perturbation changes among the tensors of its target.

    spec.tensor names one tensor, or several by a shell pattern ("blocks.0.*", "*"). If it is None,
    the tensors are the first layer's weight (the first parameter with more than one dimension) for
    the target "weights", as in the paper, and all tensors for other targets. Whatever else spec
    leaves open is drawn from `key`: the element uniformly over all elements of those tensors, the
    direction or the bit with equal probabilities. Draws depend on the sizes of the tensors only,
    not on values or devices.

    Raises ValueError if the target has no elements, no name matches, or an index or bit is out of
    range.
    """
    chosen = _candidates(spec, tensors)
    name, index = _choose_element(spec, chosen, key)
    if spec.change == "ulp":
        return Choice(name, index, spec.direction or _draw_direction(key), None)
    width = 8 * chosen[name].element_size()
    bit = _draw_integer(width, _BIT, key) if spec.bit is None else spec.bit
    if bit >= width:
        raise ValueError(f"perturbation.bit is {bit}; {name!r} has {width} bits an element")
    return Choice(name, index, None, bit)


def apply(
    spec: PerturbationSpec, tensors: Mapping[str, torch.Tensor], key: Key, step: int = 0
) -> Perturbation:
    """Change the element that `draw` chooses, in place, and return a record of it.

    step: number of optimizer steps done, for the record. The change by one unit in the last place
    is the paper's (Sec. 4); an infinity moves only inward, and NaN stays. Raises the errors of
    `draw` before anything changes.
    """
    choice = draw(spec, tensors, key)
    tensor, index = tensors[choice.tensor], choice.index
    place = np.unravel_index(index, tensor.shape)
    old_value, old_bits = tensor[place].item(), _bits(tensor, index)
    if choice.bit is not None:
        flip_bit(tensor, index, choice.bit)
    elif choice.direction is not None:
        flip_ulp(tensor, index, choice.direction)
    new_value, new_bits = tensor[place].item(), _bits(tensor, index)
    return Perturbation(
        target=spec.target,
        tensor=choice.tensor,
        index=index,
        step=step,
        change=spec.change,
        direction=choice.direction,
        bit=choice.bit,
        old_value=old_value if math.isfinite(old_value) else None,
        new_value=new_value if math.isfinite(new_value) else None,
        old_bits=old_bits,
        new_bits=new_bits,
    )


def perturbation_step(
    config: RunConfig, seeds: Seeds, onset: Onset, epoch_ends: Sequence[int]
) -> int | None:
    """Return the number of steps before the perturbation is made, None if the bit seed is held.

    epoch_ends: the number of steps done at the end of each epoch. Raises ValueError if the training
    has no such step after the onset epoch has begun.
    """
    if seeds.bit == HELD:
        return None
    step, total = config.perturbation.step, epoch_ends[-1]
    begin = epoch_ends[onset.bit - 1] if onset.bit > 0 else 0
    # An onset at the very end of the training means that the change is never made.
    if onset.bit < config.epochs and begin + step >= total:
        raise ValueError(
            f"perturbation.step is {step} with onset in epoch {onset.bit}; the training has "
            f"{total} steps"
        )
    return begin + step


def _statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the batch-norm statistics, without the counts of batches."""
    return {name: x for name, x in model.named_buffers() if x.is_floating_point()}


def _candidates(
    spec: PerturbationSpec, tensors: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    """Return the tensors from which the element is chosen."""
    if not any(tensor.numel() for tensor in tensors.values()):
        raise ValueError(f"perturbation.target is {spec.target!r}, of which there is nothing here")
    if spec.tensor is not None:
        found = {name: x for name, x in tensors.items() if fnmatchcase(name, spec.tensor)}
        return found or {spec.tensor: _find_tensor(spec.target, spec.tensor, tensors)}
    if spec.target != "weights":
        return tensors
    for name, weight in tensors.items():
        if weight.dim() > 1:
            return {name: weight}
    raise ValueError("perturbation.tensor must be given: no weight has more than one dimension")


def _choose_element(
    spec: PerturbationSpec, chosen: Mapping[str, torch.Tensor], key: Key
) -> tuple[str, int]:
    """Return the name of a tensor and the index of an element, given or drawn."""
    if spec.index is not None:
        if len(chosen) > 1:
            raise ValueError(
                f"perturbation.index is {spec.index}, but perturbation.tensor leaves a choice of "
                f"{len(chosen)} tensors: {', '.join(chosen)}"
            )
        [(name, tensor)] = chosen.items()
        _check_index(spec.index, name, tensor)
        return name, spec.index
    index = _draw_integer(sum(tensor.numel() for tensor in chosen.values()), _ELEMENT, key)
    for name, tensor in chosen.items():
        if index < tensor.numel():
            return name, index
        index -= tensor.numel()
    raise AssertionError("an element beyond the last")


def _find_tensor(target: Target, name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if name not in tensors:
        raise ValueError(
            f"perturbation.tensor is {name!r}; {hint(name, tensors)}among the {target} there are: "
            f"{', '.join(tensors)}"
        )
    return tensors[name]


def _check_index(index: int, name: str, tensor: torch.Tensor) -> None:
    if index >= tensor.numel():
        raise ValueError(f"perturbation.index is {index}; {name!r} has {tensor.numel()} elements")


def _draw_integer(high: int, counter: int, key: Key) -> int:
    draws = philox_randint(0, high, 1, seed=key.seed, stream=key.stream, counter=(counter,))
    return int(draws[0])


def _draw_direction(key: Key) -> int:
    word = philox_bits(1, seed=key.seed, stream=key.stream, counter=(_DIRECTION,))
    return 1 if int(word[0]) & 1 else -1


def _as_integers(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().view(_INTEGER_DTYPES[tensor.element_size()])


def _bits(tensor: torch.Tensor, index: int) -> str:
    """Return the bit pattern of one element: 0x and two hexadecimal digits per byte."""
    size = tensor.element_size()
    pattern = int(_as_integers(tensor)[np.unravel_index(index, tensor.shape)])
    return f"0x{pattern & ((1 << 8 * size) - 1):0{2 * size}x}"
