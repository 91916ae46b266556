"""`nondet run tta`: test-time augmentation, alone and with snapshots (published paper)."""

from dataclasses import replace

from nondet.studies.catalog.scales import (
    ALL,
    CONTROL,
    LAPTOP,
    LAPTOP_MODELS,
    PAPER,
    PAPER_MODELS,
    snapshot_ensemble,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

SINGLE = "single model, all sources"


# Names of rows -> test-time augmentations. For its 25 crops, the paper's code moves images by 0, 2
# or 4 pixels; it counts the image itself once more, or leaves that out. Images of 8 x 8 pixels are
# moved less far.
_LAPTOP = {
    "flip TTA": "flip",
    "25-crop TTA": "crops25",
    "81-crop TTA": "crops81",
    "flip + 25-crop": "flip+crops25",
    "flip + 81-crop": "flip+crops81",
}
_LAPTOP_BARE = {
    "25-crop without the original": "crops24",
    "81-crop without the original": "crops80",
}
_PAPER = {
    "flip TTA": "flip",
    "25-crop TTA": "original+wide25",
    "81-crop TTA": "original+crops81",
    "flip + 25-crop": "original+flip+wide25",
    "flip + 81-crop": "original+flip+crops81",
}
_PAPER_BARE = {
    "25-crop without the original": "wide25",
    "81-crop without the original": "crops81",
    "flip + 25-crop without the original": "flip+wide25",
    "flip + 81-crop without the original": "flip+crops81",
}


def _rows(laptop: bool) -> tuple[Row, ...]:
    """Return the rows; all but the control compare outputs of the same two sets of runs."""
    schemes, bare = (_LAPTOP, _LAPTOP_BARE) if laptop else (_PAPER, _PAPER_BARE)
    single = Row(SINGLE, ALL)
    snapshots = snapshot_ensemble(laptop)
    all_crops = schemes["flip + 81-crop"]

    def of_single(named: dict[str, str]) -> tuple[Row, ...]:
        return tuple(
            replace(single, name=name, output=f"final/{scheme}") for name, scheme in named.items()
        )

    return (
        CONTROL,
        single,
        snapshots,
        *of_single(schemes),
        replace(snapshots, name="snapshot + flip", output="snapshots/flip"),
        replace(snapshots, name="snapshot + flip + 81-crop", output=f"snapshots/{all_crops}"),
        *of_single(bare),
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
            {**LAPTOP, "crop_padding": 2, "flip": True},
            LAPTOP_MODELS,
            rows=_rows(laptop=True),
        ),
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
