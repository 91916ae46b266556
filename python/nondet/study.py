"""A study: rows (which sources vary) times models times runs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nondet.config import Job, PerturbationSpec, RunConfig
from nondet.seeds import SOURCES, Onset, Seeds, Source, varied


@dataclass(frozen=True)
class Row:
    """One row of a table: the sources that vary in tandem while the others are held; none in the
    control.

    settings: fields of RunConfig that differ in this row. onset: from which epoch on the sources
    vary.
    """

    name: str
    varies: tuple[Source, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    onset: Onset = field(default_factory=Onset)

    def __post_init__(self) -> None:
        for source in self.varies:
            if source not in SOURCES:
                raise ValueError(
                    f"row {self.name!r} varies {source!r}; known sources: {', '.join(SOURCES)}"
                )
        _check_settings(f"row {self.name!r}", self.settings)

    def __hash__(self) -> int:
        return hash((self.name, self.varies))

    def config(self, base: RunConfig) -> RunConfig:
        """The configuration of this row's runs, from the model's."""
        return replace(base, **self.settings)

    def applies_to(self, base: RunConfig) -> bool:
        """Whether the row's sources have anything to vary in a configuration: nothing stochastic
        happens without dropout or weight offsets, nothing is augmented without padding and flips,
        no low-level order is anyone's choice where it is left to the vendor's kernels.
        """
        config = self.config(base)
        present = {
            "stochastic": config.dropout > 0 or config.weight_offset > 0,
            "augment": config.crop_padding > 0 or config.flip,
            # The control is trained with the model's own setting.
            "lowlevel": base.lowlevel not in ("off", "exact"),
        }
        return not self.varies or any(present.get(source, True) for source in self.varies)

    def job(self, base: RunConfig, run: int) -> Job:
        """Run number `run` of this row. The control repeats equal work, every repetition a real
        training.
        """
        config = self.config(base)
        if not self.varies:
            return Job(config, Seeds(), repeat=run)
        return Job(config, varied(self.varies, run), onset=self.onset)


@dataclass(frozen=True)
class Preset:
    """A study at one scale: the models with which it is run by default, and everything else of a
    configuration. model_settings: what differs for single models, by name.
    """

    runs: int
    models: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    model_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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
        device: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> "Plan":
        """What is to be run: a preset with the given values in place of its own.

        settings: further fields of RunConfig. Raises ValueError for an unknown preset or setting,
        fewer than two runs, or values that do not fit together.
        """
        if preset not in self.presets:
            known = ", ".join(self.presets)
            raise ValueError(f"preset is {preset!r}; the study {self.name!r} has: {known}")
        base = self.presets[preset]
        given = {"dataset": dataset, "epochs": epochs, "device": device}
        given = {name: value for name, value in given.items() if value is not None}
        given |= settings or {}
        _check_settings("the study", given)
        configs = tuple(
            RunConfig(
                **{"model": model, **base.settings, **base.model_settings.get(model, {}), **given}
            )
            for model in models or base.models
        )
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

    def rows_of(self, config: RunConfig) -> list[Row]:
        """The rows that apply to one model."""
        return [row for row in self.rows if row.applies_to(config)]

    def jobs(self, config: RunConfig, row: Row) -> list[Job]:
        """The runs of one row of one model, in order."""
        return [row.job(config, run) for run in range(self.runs)]

    def all_jobs(self) -> Iterator[Job]:
        """Every run of the study, row after row, the control of every model first."""
        for row in self.rows:
            for config in self.configs:
                if row.applies_to(config):
                    yield from self.jobs(config, row)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types; `from_json` is its inverse."""
        return {
            "study": self.study,
            "title": self.title,
            "rows": [
                {
                    "name": row.name,
                    "varies": list(row.varies),
                    "settings": _settings_to_json(row.settings),
                    "onset": asdict(row.onset),
                }
                for row in self.rows
            ],
            "configs": [config.to_json() for config in self.configs],
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
            rows=tuple(
                Row(
                    row["name"],
                    tuple(row["varies"]),
                    _settings_from_json(row["settings"]),
                    Onset(**row["onset"]),
                )
                for row in data["rows"]
            ),
            configs=tuple(RunConfig.from_json(config) for config in data["configs"]),
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
        if not found and self != other:
            found.append("rows: another version of the study")
        return found


def _check_settings(owner: str, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for a name that is no field of RunConfig."""
    known = [one.name for one in fields(RunConfig)]
    for name in settings:
        if name not in known:
            raise ValueError(f"{owner} sets {name!r}; known settings: {', '.join(known)}")


def _settings_to_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: asdict(value) if isinstance(value, PerturbationSpec) else value
        for name, value in settings.items()
    }


def _settings_from_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    read = dict(settings)
    if "perturbation" in read:
        read["perturbation"] = PerturbationSpec(**read["perturbation"])
    if "milestones" in read:
        read["milestones"] = tuple(read["milestones"])
    return read
