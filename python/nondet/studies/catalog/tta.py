"""`nondet run tta`: test-time augmentation, alone and with snapshots (published paper)."""

from dataclasses import replace

from nondet.studies.catalog.scales import (
    ALL,
    CONTROL,
    LAPTOP_MODELS,
    LAPTOP_RESNET,
    PAPER,
    PAPER_MODELS,
    snapshot_ensemble,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

SINGLE = "single model, all sources"


def _rows(laptop: bool) -> tuple[Row, ...]:
    """Return the rows; all but the control compare outputs of the same two sets of runs."""
    single = Row(SINGLE, ALL)
    snapshots = snapshot_ensemble(laptop)
    return (
        CONTROL,
        single,
        snapshots,
        replace(single, name="flip TTA", output="final/flip"),
        replace(single, name="25-crop TTA", output="final/crops25"),
        replace(single, name="81-crop TTA", output="final/crops81"),
        replace(single, name="flip + 25-crop", output="final/flip+crops25"),
        replace(single, name="flip + 81-crop", output="final/flip+crops81"),
        replace(snapshots, name="snapshot + flip", output="snapshots/flip"),
        replace(snapshots, name="snapshot + flip + 81-crop", output="snapshots/flip+crops81"),
        replace(single, name="25-crop without the original", output="final/crops24"),
        replace(single, name="81-crop without the original", output="final/crops80"),
    )


TTA = Study(
    name="tta",
    title="How much less do averaged predictions spread?",
    shows="test-time augmentation and snapshots reduce every measure of spread, together the most",
    source="published version",
    rows=_rows(laptop=False),
    baseline=SINGLE,
    presets={
        # Augmentation in training as at test time, but within the size of digits.
        "laptop": Preset(
            10,
            ("resnet14-w8",),
            {**LAPTOP_RESNET, "crop_padding": 2, "flip": True},
            LAPTOP_MODELS,
            rows=_rows(laptop=True),
        ),
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
