"""Read the runs of a pilot, and of what might need fewer runs than it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nondet.analysis.comparison.scores import Scores
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.reading import (
    is_study,
    read_both,
    read_part,
    read_scores,
    study_place,
)


@dataclass(frozen=True)
class Pilot:
    """Attributes:
    scores: The runs of the method.
    other: The runs of the method that it is to be compared with; None without them.
    averaging: Scores of the same method with averaged predictions, by name.
    """

    scores: Scores
    other: Scores | None = None
    averaging: Mapping[str, Scores] = field(default_factory=dict)


def read_pilot(
    place: str,
    options: ReadOptions,
    *,
    row: str | None = None,
    against: str | None = None,
    by: str | None = None,
) -> Pilot:
    """Return the runs of a pilot.

    place: what `read_scores` reads; row, against: rows of a study, or values of the column `by` of
    a table. Rows of the study that vary the same sources as the pilot and average the predictions
    of snapshots or of augmented images are returned too.

    Raises ValueError as `read_scores`, and if `against` is given without `row`.
    """
    if against is not None and row is None:
        raise ValueError("a row to compare with needs the row of the pilot")
    if row is None:
        if by is not None:
            raise ValueError(f"the column {by!r} tells methods apart; which of them is the pilot?")
        scores, other = read_scores(place, options), None
    elif against is not None:
        scores, other = read_both(row, against, options, within=place, by=by)
    else:
        scores, other = read_part(place, row, options, by=by), None
    study = (Path(place), row) if is_study(Path(place)) else study_place(place)
    if study is None:
        return Pilot(scores, other)
    # Studies need torch, files do not.
    from nondet.analysis.score_files.study_rows import averaged_rows

    return Pilot(scores, other, averaged_rows(*study, options))
