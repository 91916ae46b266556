"""`nondet run appendix-a`: what did not help (paper, Appendix A; learning rates and durations are
Table 7).
"""

from typing import Any

from nondet.studies.catalog.scales import (
    ALL,
    ALL_SOURCES,
    CONTROL,
    LAPTOP_MODELS,
    LAPTOP_RESNET,
    LAPTOP_SMALL,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

MOMENTUM = 0.9
"""Of the presets: their learning rates belong to it."""


def _rows(lr: float, epochs: int, adam_lr: float) -> tuple[Row, ...]:
    """All sources, and one bit, under every remedy.

    lr, epochs: the preset's. With another momentum the rate is scaled so that lr / (1 - momentum),
    the length of a step in the long run, stays what it was.
    """
    remedies: dict[str, dict[str, Any]] = {
        f"momentum {momentum:g}": {
            "momentum": momentum,
            "lr": float(f"{lr * (1 - momentum) / (1 - MOMENTUM):.6g}"),
        }
        for momentum in (0.0, 0.5, 0.99, 0.999)
    }
    remedies["Adam"] = {"optimizer": "adam", "lr": adam_lr}
    remedies["weight augmentation"] = {"weight_offset": 0.01}
    remedies["aggressive averaging"] = {"averaging": "aggressive"}
    # Beside the training, and from its middle on: the form of it that converges.
    remedies["averaging aside"] = {
        "averaging": "aggressive-aside",
        "averaging_start": epochs // 2,
    }
    return (
        CONTROL,
        ALL_SOURCES,
        *(Row(f"all sources, {name}", ALL, settings) for name, settings in remedies.items()),
        ONE_BIT,
        *(Row(f"one bit, {name}", ("bit",), settings) for name, settings in remedies.items()),
    )


APPENDIX_A = Study(
    name="appendix-a",
    title="What does not help?",
    shows="momentum, Adam, weight augmentation and weight averaging do not end the instability",
    source="Appendix A",
    rows=_rows(PAPER["lr"], PAPER["epochs"], adam_lr=0.001),
    baseline="all sources",
    presets={
        "laptop": Preset(
            10,
            ("hidden",),
            LAPTOP_RESNET,
            LAPTOP_MODELS,
            rows=_rows(LAPTOP_SMALL["lr"], LAPTOP_SMALL["epochs"], adam_lr=0.01),
        ),
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
