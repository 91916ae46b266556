"""`nondet run table2`: both sources of a language model, alone and together (paper, Sec. 3.3)."""

from nondet.studies.catalog.scales import (
    BOTH,
    CONTROL,
    INITIALIZATION,
    LAPTOP_LANGUAGE,
    PAPER_LANGUAGE,
    STOCHASTIC,
)
from nondet.studies.study import Preset, Study

TABLE2 = Study(
    name="table2",
    title="How far does each source of nondeterminism spread the results of a language model?",
    shows="in a language model, too, every source spreads results about equally far",
    source="Table 2",
    rows=(CONTROL, INITIALIZATION, STOCHASTIC, BOTH),
    views=("perplexity",),
    presets={
        "laptop": Preset(10, ("qrnn",), LAPTOP_LANGUAGE),
        "paper": Preset(100, ("qrnn",), PAPER_LANGUAGE),
    },
)
