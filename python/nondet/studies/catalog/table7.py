"""`nondet run table7`: learning rates and durations (paper, Sec. 6 and Appendix A)."""

from dataclasses import replace

from nondet.studies.catalog.scales import (
    ALL,
    ALL_SOURCES,
    CONTROL,
    LAPTOP,
    LAPTOP_MODELS,
    PAPER,
    PAPER_MODELS,
    snapshot_ensemble,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study


def _rows(
    laptop: bool, rates: tuple[float, ...], durations: tuple[int, ...], short: int
) -> tuple[Row, ...]:
    """Return rows with other learning rates and durations.

    short: the epochs of the rows of one bit and of snapshots.
    """
    return (
        CONTROL,
        ALL_SOURCES,
        *(Row(f"learning rate {rate:g}", ALL, {"lr": rate}) for rate in rates),
        *(Row(f"{epochs} epochs", ALL, {"epochs": epochs}) for epochs in durations),
        Row(f"one bit, {short} epochs", ("bit",), {"epochs": short}),
        replace(snapshot_ensemble(laptop, epochs=short), name=f"snapshot ensemble, {short} epochs"),
    )


TABLE7 = Study(
    name="table7",
    title="Do learning rate and duration matter?",
    shows="neither another learning rate nor a shorter or longer training reduces the spread",
    source="Table 7",
    rows=_rows(False, (0.1, 0.2, 0.8), (50, 100, 200, 1000, 2000), short=200),
    baseline="all sources",
    presets={
        "laptop": Preset(
            10,
            ("resnet14-w8",),
            LAPTOP,
            LAPTOP_MODELS,
            rows=_rows(True, (0.1, 0.2, 0.8), (10, 30, 60), short=10),
        ),
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
