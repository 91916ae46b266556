"""`nondet run table6`: other architectures, and a data set with few errors (paper, Sec. 6)."""

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    CONTROL,
    INITIALIZATION,
    LAPTOP,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
    snapshot_ensemble,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study


def _rows(laptop: bool) -> tuple[Row, ...]:
    # The laptop's cycles of the MNIST network are single epochs, too short for a warm-up.
    settings = {"warmup_epochs": 0} if laptop else {}
    return (CONTROL, INITIALIZATION, ALL_SOURCES, ONE_BIT, snapshot_ensemble(laptop, **settings))


# Only the paper's scale has ShuffleNet and VGG-11: on a CPU their steps take 5 and 50 times as long
# as those of ResNet-14.
TABLE6 = Study(
    name="table6",
    title="Does it hold for other architectures?",
    shows="one bit matters in other networks too; laptop: three ResNets and the MNIST network",
    source="Table 6",
    rows=_rows(laptop=False),
    baseline="all sources",
    presets={
        "laptop": Preset(
            8,
            ("resnet6-w8", "resnet10-w8", "resnet14-w8", "mnist"),
            LAPTOP,
            LAPTOP_MODELS,
            rows=_rows(laptop=True),
        ),
        "paper": Preset(
            100,
            ("resnet6", "resnet10", "resnet18", "shufflenet-x0.5", "vgg11", "mnist"),
            PAPER,
            PAPER_MODELS,
        ),
    },
)
