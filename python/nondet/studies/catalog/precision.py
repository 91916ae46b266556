"""`nondet run precision`: one bit where products are rounded to fewer bits than the weights.

It goes beyond the paper, whose GPUs had no TF32. TF32 needs a CUDA device; bfloat16, torch's
automatic mixed precision, runs on a CPU too.
"""

from dataclasses import replace
from typing import Any

from nondet.studies.catalog.scales import (
    CONTROL,
    INITIALIZATION,
    LAPTOP,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study


def _rows(*precisions: str) -> tuple[Row, ...]:
    """Return rows in float32, and in each of these precisions."""
    plain = (CONTROL, INITIALIZATION, ONE_BIT)
    return (
        *plain,
        *(
            replace(row, name=f"{row.name}, {precision}", settings={"precision": precision})
            for precision in precisions
            for row in plain
        ),
    )


# The layers of the low-level source compute in float32 alone.
_COMMON: dict[str, Any] = {"lowlevel": "off"}

PRECISION = Study(
    name="precision",
    title="Does one bit still matter where products are rounded?",
    shows="one bit and initialization, where products are rounded to TF32 or bfloat16",
    source="beyond the paper",
    rows=_rows("tf32", "bfloat16"),
    presets={
        "laptop": Preset(
            10,
            ("hidden", "resnet14-w8"),
            {**LAPTOP, **_COMMON},
            LAPTOP_MODELS,
            rows=_rows("bfloat16"),
        ),
        "paper": Preset(20, ("resnet14",), {**PAPER, **_COMMON, "device": "cuda"}, PAPER_MODELS),
    },
)
