"""`nondet run table5`: snapshot ensembles against independent models (paper, Sec. 5)."""

from dataclasses import replace

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    CONTROL,
    LAPTOP_LONG,
    LAPTOP_MODELS,
    PAPER,
    PAPER_MODELS,
    snapshot_ensemble,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study


def _rows(laptop: bool) -> tuple[Row, ...]:
    # Ensembles of up to half of these models are drawn from them, so there are more than elsewhere.
    pool = replace(ALL_SOURCES, runs=20) if laptop else ALL_SOURCES
    return (CONTROL, pool, snapshot_ensemble(laptop))


TABLE5 = Study(
    name="table5",
    title="How many independent models is one snapshot ensemble worth?",
    shows="one training's snapshots spread less than a single model, like an ensemble of several",
    source="Table 5",
    rows=_rows(laptop=False),
    views=("ensembles", "spread"),
    baseline="all sources",
    presets={
        "laptop": Preset(10, ("resnet14-w8",), LAPTOP_LONG, LAPTOP_MODELS, rows=_rows(laptop=True)),
        # From the weights the records of `tta` are computed.
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS, keep=("weights",)),
    },
)
