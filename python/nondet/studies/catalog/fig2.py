"""`nondet run fig2`: sources that vary only after k epochs (paper, Sec. 3.4)."""

from nondet.studies.catalog.scales import CONTROL, LAPTOP, LAPTOP_MODELS, PAPER, PAPER_MODELS
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Source
from nondet.studies.study import Preset, Study

SOURCES: dict[str, Source] = {
    "shuffling": "shuffle",
    "augmentation": "augment",
    "low-level order": "lowlevel",
    "one bit": "bit",
}


def onset_rows(epochs: tuple[int, ...]) -> tuple[Row, ...]:
    """Return a row for every source and every epoch from which it varies.

    A source that varies from the end of the training has no effect.
    """
    return tuple(
        Row(f"{name} from epoch {epoch}", (source,), onset=Onset(**{source: epoch}))
        for name, source in SOURCES.items()
        for epoch in epochs
    )


LAPTOP_ROWS = (CONTROL, *onset_rows((0, 2, 5, 8, 11, 13, 15)))
PAPER_ROWS = (CONTROL, *onset_rows((0, 1, 10, 25, 50, 100, 200, 300, 400, 450, 490, 500)))

FIG2 = Study(
    name="fig2",
    title="When does a source have to set in to matter?",
    shows="a source that sets in late spreads results nearly as far as one from the beginning",
    source="Fig. 2",
    rows=PAPER_ROWS,
    views=("onset",),
    presets={
        "laptop": Preset(8, ("resnet14-w8",), LAPTOP, LAPTOP_MODELS, rows=LAPTOP_ROWS),
        "paper": Preset(20, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
