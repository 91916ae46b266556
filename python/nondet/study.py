"""A study: rows (which sources vary) times models times runs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nondet.config import Job, RunConfig
from nondet.seeds import SOURCES, Seeds, Source, varied


@dataclass(frozen=True)
class Row:
    """One row of a table: the sources that vary in tandem while the others are held; none in the
    control.
    """

    name: str
    varies: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        for source in self.varies:
            if source not in SOURCES:
                raise ValueError(
                    f"row {self.name!r} varies {source!r}; known sources: {', '.join(SOURCES)}"
                )

    def job(self, config: RunConfig, run: int) -> Job:
        """Run number `run` of this row. The control repeats equal work, every repetition a real
        training.
        """
        if not self.varies:
            return Job(config, Seeds(), repeat=run)
        return Job(config, varied(self.varies, run))


@dataclass(frozen=True)
class Preset:
    """A study at one scale: the models with which it is run by default, and everything else of a
    configuration.
    """

    runs: int
    models: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study as data. `rows` begins with the control; `presets` maps a scale to its settings."""

    name: str
    title: str
    rows: tuple[Row, ...]
    presets: Mapping[str, Preset]

    def plan(
        self,
        preset: str = "laptop",
        *,
        dataset: str | None = None,
        models: tuple[str, ...] | None = None,
        runs: int | None = None,
        epochs: int | None = None,
        device: str = "cpu",
    ) -> "Plan":
        """What is to be run: a preset with the given values in place of its own.

        Raises ValueError for an unknown preset or fewer than two runs.
        """
        if preset not in self.presets:
            known = ", ".join(self.presets)
            raise ValueError(f"preset is {preset!r}; the study {self.name!r} has: {known}")
        base = self.presets[preset]
        settings = dict(base.settings, device=device)
        if dataset is not None:
            settings["dataset"] = dataset
        if epochs is not None:
            settings["epochs"] = epochs
        configs = tuple(RunConfig(model=model, **settings) for model in models or base.models)
        return Plan(self.name, self.title, self.rows, configs, base.runs if runs is None else runs)


@dataclass(frozen=True)
class Plan:
    """A study whose every choice is made: one configuration per model, `runs` trainings per row."""

    study: str
    title: str
    rows: tuple[Row, ...]
    configs: tuple[RunConfig, ...]
    runs: int

    def __post_init__(self) -> None:
        if self.runs < 2:
            raise ValueError(f"runs is {self.runs}; a spread needs at least 2 runs per row")
        models = [config.model for config in self.configs]
        if len(set(models)) < len(models):
            raise ValueError(f"a model is named twice: {', '.join(models)}")

    def jobs(self, config: RunConfig, row: Row) -> list[Job]:
        """The runs of one row of one model, in order."""
        return [row.job(config, run) for run in range(self.runs)]

    def all_jobs(self) -> Iterator[Job]:
        """Every run of the study, row after row, the control of every model first."""
        for row in self.rows:
            for config in self.configs:
                yield from self.jobs(config, row)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types; `from_json` is its inverse."""
        return {
            "study": self.study,
            "title": self.title,
            "rows": [{"name": row.name, "varies": list(row.varies)} for row in self.rows],
            "configs": [asdict(config) for config in self.configs],
            "runs": self.runs,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Plan":
        """The plan that `to_json` described. Raises KeyError, TypeError or ValueError for anything
        else.
        """
        return Plan(
            study=data["study"],
            title=data["title"],
            rows=tuple(Row(row["name"], tuple(row["varies"])) for row in data["rows"]),
            configs=tuple(RunConfig(**config) for config in data["configs"]),
            runs=data["runs"],
        )

    def differences(self, other: "Plan") -> list[str]:
        """In words, where `other` asks for something else than this plan; empty for equal plans."""
        found = []
        for name in ("study", "runs"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found.append(f"{name}: {mine} there, {theirs} asked for")
        my_models = [config.model for config in self.configs]
        their_models = [config.model for config in other.configs]
        if my_models != their_models:
            found.append(
                f"models: {', '.join(my_models)} there, {', '.join(their_models)} asked for"
            )
        for mine, theirs in zip(self.configs, other.configs, strict=False):
            for name, value in asdict(replace(mine, model=theirs.model)).items():
                wanted = getattr(theirs, name)
                line = f"{name}: {value} there, {wanted} asked for"
                if value != wanted and line not in found:
                    found.append(line)
        if not found and self != other:
            found.append("rows: another version of the study")
        return found
