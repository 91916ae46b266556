"""`nondet run table4`: one bit of a language model, beside other sources (paper, Sec. 4.1)."""

from nondet.studies.catalog.scales import (
    BOTH,
    CONTROL,
    INITIALIZATION,
    LAPTOP_LANGUAGE,
    ONE_BIT,
    PAPER_LANGUAGE,
    STOCHASTIC,
)
from nondet.studies.study import Preset, Study

TABLE4 = Study(
    name="table4",
    title="How far does one bit spread the results of a language model?",
    shows="in a language model, too, one bit spreads results about as far as both sources",
    source="Table 4",
    rows=(CONTROL, INITIALIZATION, STOCHASTIC, BOTH, ONE_BIT),
    views=("perplexity",),
    presets={
        "laptop": Preset(10, ("qrnn",), LAPTOP_LANGUAGE),
        "paper": Preset(100, ("qrnn",), PAPER_LANGUAGE),
    },
)
