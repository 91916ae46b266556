"""The built-in studies, by name."""

from pathlib import Path

from nondet.names import hint
from nondet.studies.catalog.appendix_a import APPENDIX_A
from nondet.studies.catalog.crossed import CROSSED
from nondet.studies.catalog.divergence import DIVERGENCE
from nondet.studies.catalog.fig1 import FIG1
from nondet.studies.catalog.fig2 import FIG2
from nondet.studies.catalog.fig3 import FIG3
from nondet.studies.catalog.growth import GROWTH
from nondet.studies.catalog.precision import PRECISION
from nondet.studies.catalog.quick import QUICK
from nondet.studies.catalog.table1 import TABLE1
from nondet.studies.catalog.table2 import TABLE2
from nondet.studies.catalog.table3 import TABLE3
from nondet.studies.catalog.table4 import TABLE4
from nondet.studies.catalog.table5 import TABLE5
from nondet.studies.catalog.table6 import TABLE6
from nondet.studies.catalog.table7 import TABLE7
from nondet.studies.catalog.table8 import TABLE8
from nondet.studies.catalog.tta import TTA
from nondet.studies.study import Study
from nondet.studies.toml import SUFFIXES, read_study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        QUICK,
        TABLE1,
        FIG1,
        FIG2,
        TABLE2,
        TABLE3,
        DIVERGENCE,
        TABLE4,
        TABLE5,
        TABLE6,
        TABLE7,
        TABLE8,
        FIG3,
        APPENDIX_A,
        TTA,
        CROSSED,
        GROWTH,
        PRECISION,
    )
}


def find_study(name_or_path: str) -> Study:
    """Return a study by its name, or from a .toml file or a .py file with a variable STUDY.

    Raises ValueError for an unknown name and for a file without a study, OSError if the file cannot
    be read.
    """
    if Path(name_or_path).suffix in SUFFIXES:
        return read_study(Path(name_or_path), STUDIES)
    if name_or_path not in STUDIES:
        raise ValueError(
            f"there is no study {name_or_path!r}; {hint(name_or_path, STUDIES)}known studies: "
            f"{', '.join(STUDIES)}; and any file that ends in {' or '.join(SUFFIXES)}"
        )
    return STUDIES[name_or_path]
