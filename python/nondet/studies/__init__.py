"""The studies, by name."""

from nondet.studies.quick import QUICK
from nondet.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (QUICK,)}


def find_study(name: str) -> Study:
    """The study called `name`. Raises ValueError for an unknown name."""
    if name not in STUDIES:
        raise ValueError(f"there is no study {name!r}; known studies: {', '.join(STUDIES)}")
    return STUDIES[name]
