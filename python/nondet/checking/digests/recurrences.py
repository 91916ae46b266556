"""Digests of the gated recurrence and of the quasi-recurrent layer.

The layer uses torch's matrix product, tanh and sigmoid, whose rounding depends on the library. Its
inputs therefore make them exact on every processor: gates are zero, where tanh and sigmoid are 0
and 1/2, or so large that they are -1, 0 or 1.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

import nondet_ext
from nondet.checking.digests.cases import Case, any_nan, gradients
from nondet.checking.digests.inputs import FLOATS, floats, integers, specials, strided


def recurrences() -> Iterator[Case]:
    """Yield states of the recurrence and their gradients."""
    for dtype in FLOATS:
        z, f, o = (floats(dtype, 17, 5, 13, seed=seed, scale=-3) for seed in (1, 2, 3))
        initial = floats(dtype, 5, 13, seed=4)
        long = [floats(dtype, 301, 37, seed=seed, scale=-3) for seed in (5, 6, 7)]
        special = specials(dtype)
        each = [special.roll(shift).expand(3, 32) for shift in (0, 5, 11)]
        inputs: dict[str, tuple[Any, ...]] = {
            "f": (z, f),
            "fo": (z, f, o),
            "f-initial": (z, f, None, initial),
            "fo-initial": (z, f, o, initial),
            "strided": (strided(z), strided(f), strided(o), strided(initial)),
            "long": (*long,),
            "one-step": (z[:1], f[:1], o[:1], initial),
            "no-steps": (z[:0], f[:0], o[:0], initial),
            "no-columns": (z[..., :0], f[..., :0]),
            "1-d": (z[:, 0, 0], f[:, 0, 0]),
            "specials": (*each, special),
        }
        for kind, arguments in inputs.items():
            yield (
                f"forget_mult/{dtype}/{kind}",
                partial(_states, arguments),
            )
            if kind not in ("no-steps", "no-columns"):
                yield f"forget_mult/{dtype}/{kind}/gradient", partial(_gradient, arguments)


def layers() -> Iterator[Case]:
    """Yield the quasi-recurrent layer for inputs with exact gates, and its gradients."""
    for dtype in FLOATS:
        for window in (1, 2):
            for gated in (True, False):
                for zoneout, training in ((0.0, True), (0.25, True), (0.25, False)):
                    more: dict[str, Any] = {"window": window, "output_gate": gated}
                    more |= {"zoneout": zoneout, "training": training}
                    more |= {"key": (5, 6), "counter": (7,)} if zoneout else {}
                    name = f"qrnn/{dtype}/window{window}/{'fo' if gated else 'f'}"
                    if zoneout:
                        name += "/zoneout-training" if training else "/zoneout-evaluation"
                    x, weight, bias, hidden = _layer_inputs(dtype, window, 3 if gated else 2)
                    layer = partial(nondet_ext.qrnn, **more)
                    yield name, partial(layer, x, weight)
                    yield f"{name}/begun", partial(layer, x, weight, bias, hidden=hidden)
                    yield (
                        f"{name}/gradient",
                        partial(
                            gradients,
                            lambda *given, layer=layer: layer(*given[:3], hidden=given[3]),
                            [x, weight, bias, hidden.round()],
                            _small,
                        ),
                    )


def _states(arguments: tuple[Any, ...]) -> Any:
    return any_nan(nondet_ext.forget_mult(*arguments))


def _gradient(arguments: tuple[Any, ...]) -> Any:
    """Return the gradients of the arguments that are tensors."""
    places = [i for i, each in enumerate(arguments) if each is not None]

    def function(*given: torch.Tensor) -> Any:
        filled = list(arguments)
        for place, each in zip(places, given, strict=True):
            filled[place] = each
        return nondet_ext.forget_mult(*filled)

    return any_nan(gradients(function, [arguments[i] for i in places], _upstream))


def _upstream(result: torch.Tensor) -> torch.Tensor:
    name = str(result.dtype).removeprefix("torch.")
    return floats(name, *result.shape, seed=98)


def _layer_inputs(dtype: str, window: int, gates: int) -> tuple[torch.Tensor, ...]:
    """Return x of -1, 0 and 1, weights and a bias of zero or so large that sigmoid is 0 or 1, and
    an initial state of any numbers.
    """
    steps, batch, inputs, hidden = 5, 3, 4, 6
    made = FLOATS[dtype][0]
    large = {"float64": 1024, "float16": 64}.get(dtype, 128)
    return (
        integers(-1, 2, steps, batch, inputs, seed=11).to(made),
        large * integers(-1, 2, gates * hidden, window * inputs, seed=12).to(made),
        large * integers(-1, 2, gates * hidden, seed=13).to(made),
        floats(dtype, batch, hidden, seed=14),
    )


def _small(result: torch.Tensor) -> torch.Tensor:
    return integers(-1, 2, *result.shape, seed=97).to(result.dtype)
