"""Small changes of a model, recorded."""

from dataclasses import dataclass

from torch import nn

from nondet.seeds import Key
from nondet_ext import random_flip


@dataclass(frozen=True)
class Perturbation:
    """One weight moved to a neighbouring representable value.

    index: logical (row-major) index into the parameter; direction: +1 up, -1 down; bits: the
    pattern in hexadecimal.
    """

    parameter: str
    index: int
    direction: int
    old_value: float
    new_value: float
    old_bits: str
    new_bits: str


def first_layer_weight(model: nn.Module) -> tuple[str, nn.Parameter]:
    """Name and weight of the layer that sees the images: the first parameter with more than one
    dimension.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            return name, parameter
    raise ValueError(f"{type(model).__name__} has no weight with more than one dimension")


def change_one_ulp(model: nn.Module, key: Key) -> Perturbation:
    """Moves one weight of the first layer to the next representable value, up or down with equal
    odds (paper, Sec. 4).

    The weight and the direction are drawn from `key`, equal on every device. Changes the model in
    place.
    """
    name, parameter = first_layer_weight(model)
    record = random_flip(parameter, key.seed, stream=key.stream, count=1)
    digits = parameter.element_size() * 2
    mask = (1 << parameter.element_size() * 8) - 1
    return Perturbation(
        parameter=name,
        index=int(record.indices[0]),
        direction=int(record.directions[0]),
        old_value=float(record.old_values[0]),
        new_value=float(record.new_values[0]),
        old_bits=f"0x{int(record.old_bits[0]) & mask:0{digits}x}",
        new_bits=f"0x{int(record.new_bits[0]) & mask:0{digits}x}",
    )
