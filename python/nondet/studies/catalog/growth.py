"""`nondet run growth`: the growth of the distance between twins, and the loss barrier between them.

It goes beyond the paper: finite-time Lyapunov exponents of training, and linear mode connectivity
against the onset (Frankle et al. 2020, "Linear Mode Connectivity and the Lottery Ticket
Hypothesis"), for the data order as there, and for one bit.
"""

from dataclasses import replace

from nondet.studies.catalog.scales import (
    CONTROL,
    LAPTOP,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Source
from nondet.studies.study import Preset, Study


def _rows(epochs: tuple[int, ...]) -> tuple[Row, ...]:
    """Return rows of one bit from the beginning, then of data order and one bit from each epoch."""
    late: tuple[tuple[str, Source], ...] = (("shuffling", "shuffle"), ("one bit", "bit"))
    return (
        CONTROL,
        replace(ONE_BIT, keep=("twin",)),
        *(
            Row(
                f"{name} from epoch {epoch}",
                (source,),
                onset=Onset(**{source: epoch}),
                keep=("twin",),
            )
            for name, source in late
            for epoch in epochs
        ),
    )


GROWTH = Study(
    name="growth",
    title="How fast do twins part, and do they stay in one valley?",
    shows="distance of twins at every step, its rate of growth, the loss barrier against onset",
    source="beyond the paper (Frankle et al. 2020)",
    rows=_rows((0, 1, 2, 5, 10, 25, 50, 100, 200, 400)),
    views=("growth", "barrier"),
    presets={
        "laptop": Preset(
            8,
            ("linear", "hidden", "resnet14-w8"),
            LAPTOP,
            LAPTOP_MODELS,
            rows=_rows((0, 2, 5, 10)),
        ),
        "paper": Preset(10, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
