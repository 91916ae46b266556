"""A study: rows (the sources that vary) times models times runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypedDict

from nondet.characters import check_name
from nondet.names import VIEWS, check_view, hint
from nondet.schemas import SchemaError, Steps, check, join
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError, SettingTypeError
from nondet.studies.fit import check_fit, check_record, check_warmups, of_row
from nondet.studies.job import Job
from nondet.studies.row import Keep, Row
from nondet.studies.schema import MOST_RUNS, NotEmpty, RunCount, find_setting
from nondet.studies.settings import check_settings, grouped
from nondet.studies.validation import check_maximum, show


@dataclass(frozen=True)
class Preset:
    """A study at one scale.

    Attributes:
        runs: The number of runs per row.
        models: The models that are trained by default.
        settings: The settings of all models, by name.
        model_settings: Settings that differ for single models, by model.
        rows: Rows in place of the study's.
        keep: What is recorded in every row (see `Row.keep`).
    """

    runs: int
    models: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    model_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: tuple[Row, ...] | None = None
    keep: tuple[Keep, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study as data.

    Attributes:
        name: The name, also that of its folder.
        title: The question that it answers.
        rows: The rows of its table.
        presets: Its scales, by name. "laptop" is the default, or the first if there is none of that
            name.
        shows: What a reader learns from it, in one sentence.
        source: The table, figure or section of the paper.
        views: The parts of its report, in order (`nondet.names.VIEWS`).
        baseline: The row against which a reduction of variability is computed.
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
        check_name("the name of a study", self.name)
        if not self.presets:
            raise ValueError(f"the study {self.name!r} has no preset")
        for preset in self.presets:
            check_name("the name of a preset", preset)

    @property
    def default_preset(self) -> str:
        """The name of the preset that is used by default."""
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
        """Return the runs of a preset, with the given values in place of its own.

        preset: by default `default_preset`. settings: further settings, by name (see
        `settings.setting_types`).

        Raises ValueError for an unknown preset, SettingError for an unknown setting, fewer than two
        runs, values that are wrong or do not fit together, or a warm-up without an epoch after it.
        """
        preset = self.default_preset if preset is None else preset
        if preset not in self.presets:
            known = f"{hint(preset, self.presets)}the study {self.name!r} has: "
            raise ValueError(f"preset is {preset!r}; {known}{', '.join(self.presets)}")
        base = self.presets[preset]
        given = {"dataset": dataset, "epochs": epochs, "device": device}
        given = {name: value for name, value in given.items() if value is not None}
        given |= settings or {}
        check_settings("the study", given)
        configs = tuple(
            _config(model, base.settings, base.model_settings.get(model, {}), given)
            for model in models or base.models
        )
        plan = Plan(
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
        # Not a check of `Plan`, so that stored studies without one can still be read.
        check_warmups(plan.configs, plan.rows)
        return plan


@dataclass(frozen=True)
class Plan:
    """A study whose every choice is made.

    Attributes:
        study: The name of the study.
        title: The question that it answers.
        rows: The rows of its table.
        configs: One configuration per model.
        runs: The number of runs per row, unless the row has its own.
        views: The parts of the report, in order.
        baseline: The row against which a reduction of variability is computed.
        keep: What is recorded in every row (see `Row.keep`).
        source: The table, figure or section of the paper.
        data: The digests of the data sets, by name, which the runs carry (`with_data`). They are
            no choice of the study but say with what it was run: plans that differ in nothing else
            are equal, and the JSON does not hold them.
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
    data: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if type(self.runs) is not int:
            raise SettingTypeError(f"runs is {show(self.runs)}; it must be an integer", "runs")
        if self.runs < 2:
            raise SettingError(
                f"runs is {self.runs}; a spread needs at least 2 runs per row", "runs"
            )
        check_maximum("runs", self.runs, MOST_RUNS)
        models = [config.model for config in self.configs]
        if len(set(models)) < len(models):
            raise SettingError(f"a model is named twice: {', '.join(models)}", "models")
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                error = SettingError(f"two rows are named {name!r}", "name")
                error.row = name
                raise error
        if self.baseline is not None and self.baseline not in names:
            raise SettingError(
                f"baseline is {self.baseline!r}; {hint(self.baseline, names)}the rows are: "
                f"{', '.join(names)}",
                "baseline",
            )
        for view in self.views:
            check_view(view)
        for config in self.configs:
            for keep in self.keep:
                check_record(keep, config)
            for row in self.rows:
                try:
                    if row.applies_to(config):
                        check_fit(row, config)
                except SettingError as error:
                    raise of_row(error, row, config) from None

    def rows_of(self, config: RunConfig) -> list[Row]:
        """Return the rows that apply to a model."""
        return [row for row in self.rows if row.applies_to(config)]

    def jobs(self, config: RunConfig, row: Row) -> list[Job]:
        """Return the runs of one row of one model, in order."""
        data = self.data.get(config.dataset, "")
        return [row.job(config, run, data) for run in range(row.count(self.runs))]

    def with_data(self, digests: Mapping[str, str]) -> "Plan":
        """Return the plan whose runs carry these digests of data sets, by name."""
        return replace(self, data=dict(digests))

    def tasks(self) -> dict[Job, frozenset[Keep]]:
        """Return every run of the study once, with what is recorded of it.

        The order is that of the rows, and of the models within a row. Rows share equal runs.
        """
        tasks: dict[Job, frozenset[Keep]] = {}
        for row in self.rows:
            for config in self.configs:
                if row.applies_to(config):
                    for job in self.jobs(config, row):
                        keeps = tasks.get(job, frozenset()) | row.keeps | set(self.keep)
                        # The logits of a language model are recomputed from its weights.
                        tasks[job] = keeps | ({"weights"} if config.language else set())
        return tasks

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON types, without `data`; `from_json` is its inverse."""
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
    def from_json(data: Any, where: str = "") -> "Plan":
        """Return the plan that `to_json` described.

        data: any JSON value. where: its path, with which errors begin.

        Raises SchemaError (a ValueError) for anything else, with the path of the entry:
        "configs[0].perturbation.step".
        """
        read = check(_PlanJson, data, where)
        rows = [Row.from_json(row, join(where, "rows", i)) for i, row in enumerate(read["rows"])]
        configs = [
            RunConfig.from_json(config, join(where, "configs", i))
            for i, config in enumerate(read["configs"])
        ]
        try:
            return Plan(
                study=read["study"],
                title=read["title"],
                source=read["source"],
                rows=tuple(rows),
                configs=tuple(configs),
                runs=read["runs"],
                views=tuple(read["views"]),
                baseline=read["baseline"],
                keep=tuple(read["keep"]),
            )
        except SettingError as error:
            raise SchemaError(join(where, *_place(error, read)), str(error)) from None

    def differences(self, other: "Plan") -> list[str]:
        """Describe, a line each, where `other` asks for other runs than this plan.

        Titles and views may differ, because only the report shows them. Data sets are compared by
        name.
        """
        lines = []
        for name in ("study", "runs", "keep"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                lines.append(f"{name}: {mine} there, {theirs} asked for")
        my_models = [config.model for config in self.configs]
        their_models = [config.model for config in other.configs]
        if my_models != their_models:
            lines.append(
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
                if value != wanted and line not in lines:
                    lines.append(line)
        if not lines and self.rows != other.rows:
            lines.append("rows: another version of the study")
        return lines


class _PlanJson(TypedDict):
    study: str
    title: str
    source: str
    rows: Annotated[list[Any], NotEmpty()]
    configs: Annotated[list[Any], NotEmpty()]
    runs: RunCount
    views: list[Literal[VIEWS]]  # type: ignore[valid-type]
    baseline: str | None
    keep: list[Keep]


def _place(error: SettingError, data: _PlanJson) -> Steps:
    """Return the place, in the JSON of a plan, of what an error of `Plan` is about."""
    rows, configs = data["rows"], data["configs"]
    names, models = [row["name"] for row in rows], [config["model"] for config in configs]
    if error.row is not None:
        row = len(names) - 1 - names[::-1].index(error.row)
        if steps := find_setting(error, rows[row]):
            return "rows", row, *steps
        if error.model is not None:
            config = models.index(error.model)
            if steps := find_setting(error, configs[config]):
                return "configs", config, *steps
        return "rows", row
    if error.field == "models":
        twice = next(i for i, model in enumerate(models) if model in models[:i])
        return "configs", twice, "model"
    return (error.field,)


def _config(model: str, *settings: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a model; later settings replace earlier ones."""
    values: dict[str, Any] = {"model": model}
    try:
        for part in settings:
            values |= grouped(part, values)
        return RunConfig(**values)
    except SettingError as error:
        error.model = model
        raise
