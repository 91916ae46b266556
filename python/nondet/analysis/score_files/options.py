"""What of a file is read as the scores of a method."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLES = ("seed", "run", "task", "example", "cluster", "label")
"""What columns beside the score are for. A column has this name unless another is given."""


@dataclass(frozen=True)
class ReadOptions:
    """How scores are read.

    Attributes:
        score: The name of the column, metric or scorer to compare; by default the only one.
        tasks: The tasks to compare; all if empty.
        columns: Names of columns that are not those of `ROLES`, by role. Of logs of language
            models only "cluster" is used, a field of the document or of the metadata of a sample.
        pair_by: A further column whose values runs may be paired by.
        higher_is_better: None to decide by the name of the score.
        percent: Whether scores are shares, shown in percent; None to decide by name and values.
    """

    score: str | None = None
    tasks: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    pair_by: str | None = None
    higher_is_better: bool | None = None
    percent: bool | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown role."""
        for role in self.columns:
            if role not in ROLES:
                raise ValueError(f"no column is a {role!r}; known: {', '.join(ROLES)}")
