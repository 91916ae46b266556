"""A study: rows (which sources vary) times models times runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nondet.names import check_view
from nondet.studies.config import Job, RunConfig
from nondet.studies.row import Keep, Row, check_settings
from nondet.studies.settings import grouped


@dataclass(frozen=True)
class Preset:
    """A study at one scale: the models with which it is run by default, and everything else of a
    configuration. model_settings: what differs for single models, by name. rows: in place of the
    study's. keep: recorded by every row.
    """

    runs: int
    models: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    model_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: tuple[Row, ...] | None = None
    keep: tuple[Keep, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study as data. `presets` maps a scale to its settings; "laptop" is the one to take where
    none is asked for, or the first where there is none of that name.

    shows: what a reader learns from it, one sentence. source: the table, figure or section it
    comes from. views: the parts of its report, in order (`nondet.names.VIEWS`). baseline: the row
    against which a reduction of variability is computed.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    presets: Mapping[str, Preset]
    shows: str = ""
    source: str = ""
    views: tuple[str, ...] = ("spread",)
    baseline: str | None = None

    def __post_init__(self) -> None:
        if not self.presets:
            raise ValueError(f"the study {self.name!r} has no preset")

    @property
    def default_preset(self) -> str:
        """The preset to take where none is asked for."""
        return "laptop" if "laptop" in self.presets else next(iter(self.presets))

    def plan(
        self,
        preset: str | None = None,
        *,
        dataset: str | None = None,
        models: tuple[str, ...] | None = None,
        runs: int | None = None,
        epochs: int | None = None,
        device: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> "Plan":
        """What is to be run: a preset, the default one if None, with the given values in place of
        its own.

        settings: further ones, by name (see `settings.setting_types`). Raises ValueError for an
        unknown preset or setting, fewer than two runs, or values that do not fit together.
        """
        preset = self.default_preset if preset is None else preset
        if preset not in self.presets:
            known = ", ".join(self.presets)
            raise ValueError(f"preset is {preset!r}; the study {self.name!r} has: {known}")
        base = self.presets[preset]
        given = {"dataset": dataset, "epochs": epochs, "device": device}
        given = {name: value for name, value in given.items() if value is not None}
        given |= settings or {}
        check_settings("the study", given)
        configs = tuple(
            _config({"model": model}, base.settings, base.model_settings.get(model, {}), given)
            for model in models or base.models
        )
        return Plan(
            study=self.name,
            title=self.title,
            rows=self.rows if base.rows is None else base.rows,
            configs=configs,
            runs=base.runs if runs is None else runs,
            views=self.views,
            baseline=self.baseline,
            keep=base.keep,
            source=self.source,
        )


@dataclass(frozen=True)
class Plan:
    """A study whose every choice is made: one configuration per model, `runs` trainings per row
    (where a row does not say otherwise).
    """

    study: str
    title: str
    rows: tuple[Row, ...]
    configs: tuple[RunConfig, ...]
    runs: int
    views: tuple[str, ...] = ("spread",)
    baseline: str | None = None
    keep: tuple[Keep, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if self.runs < 2:
            raise ValueError(f"runs is {self.runs}; a spread needs at least 2 runs per row")
        models = [config.model for config in self.configs]
        if len(set(models)) < len(models):
            raise ValueError(f"a model is named twice: {', '.join(models)}")
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rows are named {name!r}")
        if self.baseline is not None and self.baseline not in names:
            raise ValueError(f"baseline is {self.baseline!r}; the rows are: {', '.join(names)}")
        for view in self.views:
            check_view(view)
        for config in self.configs:
            for name in self.keep:
                _check_record(name, config)
            for row in self.rows:
                try:
                    if row.applies_to(config):
                        _check_fit(row, config)
                except ValueError as error:
                    raise ValueError(f"row {row.name!r}: {error}") from None

    def rows_of(self, config: RunConfig) -> list[Row]:
        """The rows that apply to one model."""
        return [row for row in self.rows if row.applies_to(config)]

    def jobs(self, config: RunConfig, row: Row) -> list[Job]:
        """The runs of one row of one model, in order."""
        return [row.job(config, run) for run in range(row.count(self.runs))]

    def tasks(self) -> dict[Job, frozenset[Keep]]:
        """Every run of the study once, row after row, the control of every model first, and what is
        recorded of it. Rows that ask for equal work share it.
        """
        tasks: dict[Job, frozenset[Keep]] = {}
        for row in self.rows:
            for config in self.configs:
                if row.applies_to(config):
                    for job in self.jobs(config, row):
                        keeps = tasks.get(job, frozenset()) | row.keeps | set(self.keep)
                        # From its weights a language model's logits are computed again.
                        tasks[job] = keeps | ({"weights"} if config.language else set())
        return tasks

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types; `from_json` is its inverse."""
        return {
            "study": self.study,
            "title": self.title,
            "source": self.source,
            "rows": [row.to_json() for row in self.rows],
            "configs": [config.to_json() for config in self.configs],
            "runs": self.runs,
            "views": list(self.views),
            "baseline": self.baseline,
            "keep": list(self.keep),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Plan":
        """The plan that `to_json` described. Raises KeyError, TypeError or ValueError for anything
        else.
        """
        return Plan(
            study=data["study"],
            title=data["title"],
            source=data["source"],
            rows=tuple(Row.from_json(row) for row in data["rows"]),
            configs=tuple(RunConfig.from_json(config) for config in data["configs"]),
            runs=data["runs"],
            views=tuple(data["views"]),
            baseline=data["baseline"],
            keep=tuple(data["keep"]),
        )

    def differences(self, other: "Plan") -> list[str]:
        """In words, where `other` asks for other runs than this plan; empty for equal ones. What
        only the report shows (title, views) may differ.
        """
        found = []
        for name in ("study", "runs", "keep"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found.append(f"{name}: {mine} there, {theirs} asked for")
        my_models = [config.model for config in self.configs]
        their_models = [config.model for config in other.configs]
        if my_models != their_models:
            found.append(
                f"models: {', '.join(my_models)} there, {', '.join(their_models)} asked for"
            )
        theirs_by_model = {config.model: config for config in other.configs}
        for mine in self.configs:
            theirs = theirs_by_model.get(mine.model)
            if theirs is None:
                continue
            for name, value in vars(mine).items():
                wanted = getattr(theirs, name)
                line = f"{name}: {value} there, {wanted} asked for"
                if value != wanted and line not in found:
                    found.append(line)
        if not found and self.rows != other.rows:
            found.append("rows: another version of the study")
        return found


def _config(*settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of settings, later ones in place of earlier ones."""
    found: dict[str, Any] = {}
    for part in settings:
        found |= grouped(part, found)
    return RunConfig(**found)


def _check_record(name: Keep, config: RunConfig) -> None:
    """Raises ValueError for a record that trainings of this kind do not have."""
    if config.language is not None and name != "weights":
        raise ValueError(f"keep is {name!r}, which no language model has; known: weights")


def _check_fit(row: Row, config: RunConfig) -> None:
    """Raises ValueError for a row whose onset or output the model's training does not have."""
    for name in row.keeps:
        _check_record(name, config)
    schedule = row.job(config, 0).config.schedule
    if row.output.startswith("snapshots") and schedule != "snapshots":
        raise ValueError(
            f"output is {row.output!r}, but the schedule is {schedule!r}; only 'snapshots' leaves "
            "any"
        )
