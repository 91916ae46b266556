"""Checks that the parts of a plan fit together: rows, models and what is recorded."""

from collections.abc import Iterable

from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError
from nondet.studies.row import Keep, Row


def of_row(error: SettingError, row: Row, config: RunConfig) -> SettingError:
    """Return an error as one of a row of a model."""
    found = error.prefixed(f"row {row.name!r}: ")
    found.row, found.model = row.name, config.model
    return found


def check_warmups(configs: Iterable[RunConfig], rows: Iterable[Row]) -> None:
    """Raise SettingError if the learning rate of a training would never reach its highest value.

    configs: of the models. rows: of the study.
    """
    for config in configs:
        try:
            _check_warmup(config)
        except SettingError as error:
            error.model = config.model
            raise
        for row in rows:
            if row.applies_to(config):
                try:
                    _check_warmup(row.config(config))
                except SettingError as error:
                    raise of_row(error, row, config) from None


def _check_warmup(config: RunConfig) -> None:
    if config.warmup_epochs >= config.epochs:
        raise SettingError(
            f"warmup_epochs is {config.warmup_epochs}; it must be below the {config.epochs} epochs "
            "of the training",
            "warmup_epochs",
            "epochs",
        )


def check_record(name: Keep, config: RunConfig) -> None:
    """Raise SettingError for a record that trainings of this kind do not have."""
    if config.language is not None and name != "weights":
        raise SettingError(
            f"keep is {name!r}, which no language model has; known: weights", "keep", "models"
        )


def check_fit(row: Row, config: RunConfig) -> None:
    """Raise SettingError for a row whose records, onset or output the model does not have."""
    for name in row.keep:
        check_record(name, config)
    if "/" in row.output and config.language is not None:
        raise SettingError(
            f"output is {row.output!r}, but test-time augmentation changes images; a language "
            "model has none",
            "output",
            "models",
        )
    schedule = row.job(config, 0).config.schedule
    if row.output.startswith("snapshots") and schedule != "snapshots":
        raise SettingError(
            f"output is {row.output!r}, but the schedule is {schedule!r}; only 'snapshots' leaves "
            "any",
            "output",
            "schedule",
        )
