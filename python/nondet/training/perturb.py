"""Small changes of single numbers of a training, on record and reversible (paper, Sec. 4)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import nn

from nondet.keys import Key
from nondet.studies.config import Change, PerturbationSpec
from nondet.studies.config import Target as Target
from nondet.training.optimizers import named_state
from nondet_ext import flip_bit, flip_ulp, philox_bits, philox_randint

# What a draw is for: the first coordinate of its counter. The first two are those of
# nondet_ext.random_flip, which makes the same choice within one tensor.
_ELEMENT, _DIRECTION, _BIT = 0, 1, 2

_BITS_DTYPE = {8: torch.int64, 4: torch.int32, 2: torch.int16}  # by size in bytes


@dataclass(frozen=True)
class Choice:
    """One element and what is to happen to it: moved in a direction (1 up, -1 down), or a bit
    inverted (0: the lowest).
    """

    tensor: str
    index: int
    direction: int | None
    bit: int | None


@dataclass(frozen=True)
class Perturbation:
    """One number that was changed.

    step: optimizer steps done before. index: logical (row-major) index into the tensor. direction:
    1 up, -1 down, None where a bit was inverted; bit: its number from the lowest, or None. Bits:
    the pattern in hexadecimal. Values: None where not finite.
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
        """Puts the old bits back, in place, into the tensor of that name.

        Raises ValueError where there is no such tensor or it is too small, RuntimeError where the
        element no longer holds the bits that the change left; nothing is changed then.
        """
        tensor = _named(self.target, self.tensor, tensors)
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
    """The live tensors that a target offers, by name, in the order of the model.

    weights: the parameters; gradient: their gradients, of those that have one; momentum: what the
    optimizer keeps of past gradients, as `<parameter>.<slot>`; statistics: running means and
    variances; pixel: `images`, the batch as the model sees it, as "images".
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
    """Raises ValueError, before a training begins, where a perturbation names a tensor, an element
    or a bit that the training will not have.

    batch_shape: (images, channels, height, width). Momentum is not checked: it is there only when
    the optimizer has made it.
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
    """What a perturbation changes among the tensors that its target offers; nothing is changed.

    spec.tensor names one of them, or several by a pattern as of a shell ("blocks.0.*", "*"); left
    out, it stands for the weight of the first layer (the first with more than one dimension) where
    weights are changed, as in the paper, and else for all. What spec leaves open is drawn from
    `key`: the element, uniformly over all elements of those tensors, and the direction or the bit,
    with equal odds. Draws depend on the sizes of the tensors alone, not on values or devices.

    Raises ValueError where the target offers nothing, no name fits, or an index or bit is not
    there.
    """
    chosen = _candidates(spec, tensors)
    name, index = _element(spec, chosen, key)
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
    """Changes one element in place, as `draw` chooses it; `step` goes on record.

    The change by one unit in the last place is the paper's (Sec. 4). An infinity moves inward only
    and NaN stays. Raises as `draw`, before anything changes.
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


def _statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """The batch-norm statistics, without the counts of batches."""
    return {name: x for name, x in model.named_buffers() if x.is_floating_point()}


def _candidates(
    spec: PerturbationSpec, tensors: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    """The tensors among which an element is chosen."""
    if not any(tensor.numel() for tensor in tensors.values()):
        raise ValueError(f"perturbation.target is {spec.target!r}, of which there is nothing here")
    if spec.tensor is not None:
        found = {name: x for name, x in tensors.items() if fnmatchcase(name, spec.tensor)}
        return found or {spec.tensor: _named(spec.target, spec.tensor, tensors)}
    if spec.target != "weights":
        return tensors
    for name, weight in tensors.items():
        if weight.dim() > 1:
            return {name: weight}
    raise ValueError("perturbation.tensor must be given: no weight has more than one dimension")


def _element(
    spec: PerturbationSpec, chosen: Mapping[str, torch.Tensor], key: Key
) -> tuple[str, int]:
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


def _named(target: Target, name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if name not in tensors:
        raise ValueError(
            f"perturbation.tensor is {name!r}; among the {target} there are: {', '.join(tensors)}"
        )
    return tensors[name]


def _check_index(index: int, name: str, tensor: torch.Tensor) -> None:
    if index >= tensor.numel():
        raise ValueError(f"perturbation.index is {index}; {name!r} has {tensor.numel()} elements")


def _draw_integer(below: int, purpose: int, key: Key) -> int:
    draws = philox_randint(0, below, 1, seed=key.seed, stream=key.stream, counter=(purpose,))
    return int(draws[0])


def _draw_direction(key: Key) -> int:
    word = philox_bits(1, seed=key.seed, stream=key.stream, counter=(_DIRECTION,))
    return 1 if int(word[0]) & 1 else -1


def _as_integers(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().view(_BITS_DTYPE[tensor.element_size()])


def _bits(tensor: torch.Tensor, index: int) -> str:
    """The pattern of one element, as 0x and two digits a byte."""
    size = tensor.element_size()
    pattern = int(_as_integers(tensor)[np.unravel_index(index, tensor.shape)])
    return f"0x{pattern & ((1 << 8 * size) - 1):0{2 * size}x}"
