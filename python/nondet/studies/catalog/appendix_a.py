"""`nondet run appendix-a`: methods that did not reduce the spread (paper, Appendix A).

Learning rates and durations are in Table 7.
"""

from typing import Any

from nondet.studies.catalog.scales import (
    ALL,
    ALL_SOURCES,
    CONTROL,
    LAPTOP,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

MOMENTUM = 0.9
"""The momentum of the presets, for which their learning rates were chosen."""


def _rows(lr: float, epochs: int, adam_lr: float) -> tuple[Row, ...]:
    """Return rows of all sources, and of one bit, with every remedy.

    lr, epochs: those of the preset. With another momentum, the rate is scaled so that the long-term
    step length, lr / (1 - momentum), stays the same.
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
    # The variant that converges: it does not change the training, and starts at its middle.
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
            LAPTOP,
            LAPTOP_MODELS,
            rows=_rows(LAPTOP["lr"], LAPTOP["epochs"], adam_lr=0.01),
        ),
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
