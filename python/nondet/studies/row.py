"""One row of a table: the sources that vary, their settings, and the predictions compared."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from nondet.characters import check_name
from nondet.names import alternatives, hint
from nondet.plain import plain
from nondet.schemas import check
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError, SettingTypeError
from nondet.studies.job import Job
from nondet.studies.later import settings_json
from nondet.studies.schema import (
    MOST_RUNS,
    RunCount,
    field_types,
    json_type,
    locating,
    object_type,
    required_fields,
)
from nondet.studies.seeds import SOURCES, Onset, Source, held, own_seed, varied
from nondet.studies.settings import GROUPS, check_settings, grouped, setting_types
from nondet.studies.validation import show

Design = Literal["tandem", "crossed"]
Keep = Literal["taps", "tta", "twin", "weights"]
KEEPS: tuple[Keep, ...] = get_args(Keep)
DERIVED: frozenset[Keep] = frozenset(("taps", "tta"))
"""Records that can be computed from the weights of a finished run of an image model."""

MODELS_OF = ("final", "snapshots")
TTA = (
    "flip",
    "crops25",
    "crops81",
    "flip+crops25",
    "flip+crops81",
    "crops24",
    "crops80",
    "wide25",
    "flip+wide25",
    "original+wide25",
    "original+crops81",
    "original+flip+wide25",
    "original+flip+crops81",
)
"""Test-time augmentations: what the mean logits are of.

"flip" is the image and its mirror image. "crops25" are all shifts by at most 2 pixels down or right
(or up or left), "crops81" by at most 4; "wide25" are those by -4, -2, 0, 2 and 4 pixels, the 25
crops of the published code. "crops24" and "crops80" lack the image that is not shifted. "flip+"
adds the mirror image of each. "original+" counts the image itself once more, as that code does.
"""
OUTPUTS = (*MODELS_OF, *(f"{model}/{scheme}" for model in MODELS_OF for scheme in TTA))
"""The predictions that a row can compare."""


@dataclass(frozen=True)
class Row:
    """One row of a table: runs in which some sources vary while the others are held.

    Attributes:
        name: The name, unique in a study.
        varies: The sources that vary; none in the control.
        settings: Settings that differ in this row, by name (`studies.settings.setting_types`).
        onset: The epoch from which each source varies.
        output: The predictions that are compared: of the "final" weights, or the mean logits of the
            "snapshots" of the schedule of that name. "/" and a test-time augmentation (`TTA`) may
            follow.
        design: "tandem" varies all sources together; "crossed" runs every combination of `levels`
            seeds of each source.
        levels: The number of seeds per source; "crossed" only.
        runs: The number of runs, if it is not the study's.
        keep: What is recorded beside the predictions: representations ("taps"), predictions under
            test-time augmentation ("tta"), distances to a held twin at every step ("twin"), the
            final weights ("weights").
        models: The models that the row is for; all if empty.
    """

    name: str
    varies: tuple[Source, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    onset: Onset = field(default_factory=Onset)
    output: str = "final"
    design: Design = "tandem"
    levels: int | None = None
    runs: int | None = None
    keep: tuple[Keep, ...] = ()
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            check_name("the name of a row", self.name)
        except ValueError as error:
            raise SettingError(str(error), "name") from None
        owner = f"row {self.name!r}"
        for source in self.varies:
            if source not in SOURCES:
                raise SettingError(
                    f"{owner} varies {source!r}; {hint(source, SOURCES)}known sources: "
                    f"{', '.join(SOURCES)}",
                    "varies",
                )
        if len(set(self.varies)) < len(self.varies):
            raise SettingError(f"{owner} names a source twice: {', '.join(self.varies)}", "varies")
        settings = {name: plain(value) for name, value in self.settings.items()}
        object.__setattr__(self, "settings", settings)
        check_settings(owner, settings)
        for name in ("dataset", "model"):
            if name in self.settings:
                raise SettingError(
                    f"{owner} sets {name!r}, which is the same in all rows of a model", name
                )
        _check_output(owner, self.output)
        if self.design not in get_args(Design):
            raise SettingError(
                f"{owner} has design {self.design!r}; "
                f"{alternatives(self.design, get_args(Design))}",
                "design",
            )
        for name in self.keep:
            if name not in KEEPS:
                raise SettingError(f"{owner} keeps {name!r}; {alternatives(name, KEEPS)}", "keep")
        for name in ("runs", "levels"):
            number = plain(getattr(self, name))
            object.__setattr__(self, name, number)
            if number is not None and type(number) is not int:
                raise SettingTypeError(
                    f"{owner} has {name} {show(number)}; it must be an integer of at least 2", name
                )
            if number is not None and number > MOST_RUNS:
                raise SettingError(
                    f"{owner} has {name} {show(number)}; it must be at most {MOST_RUNS:,}", name
                )
        if self.runs is not None and self.runs < 2:
            raise SettingError(f"{owner} has runs {self.runs}; a spread needs at least 2", "runs")
        if self.design == "tandem" and self.levels is not None:
            raise SettingError(
                f"{owner} has levels {self.levels}, which only the design 'crossed' has",
                "levels",
                "design",
            )
        if self.design == "crossed":
            if not self.varies:
                raise SettingError(f"{owner} is crossed, but varies nothing", "varies", "design")
            if self.levels is None or self.levels < 2:
                raise SettingError(
                    f"{owner} has levels {self.levels}; crossed needs at least 2",
                    "levels",
                    "design",
                )
            if self.runs is not None:
                raise SettingError(
                    f"{owner} has runs {self.runs}, but the levels decide them: {self.count(0)}",
                    "runs",
                    "levels",
                )
            if self.count(0) > MOST_RUNS:
                raise SettingError(
                    f"{owner} has levels {self.levels} of {len(self.varies)} sources, which are "
                    f"{self.count(0):,} runs; it must have at most {MOST_RUNS:,}",
                    "levels",
                    "varies",
                )

    def __hash__(self) -> int:
        return hash((self.name, self.varies))

    def config(self, base: RunConfig) -> RunConfig:
        """Return the configuration of this row's runs, given that of the model."""
        return replace(base, **grouped(self.settings, vars(base))) if self.settings else base

    def count(self, runs: int) -> int:
        """Return the number of runs of the row in a study with `runs` runs per row."""
        if self.design == "crossed":
            assert self.levels is not None
            return int(self.levels ** len(self.varies))
        return runs if self.runs is None else self.runs

    @property
    def keeps(self) -> frozenset[Keep]:
        """Everything recorded beside the final predictions, including what `output` needs."""
        needed: tuple[Keep, ...] = ("tta",) if "/" in self.output else ()
        return frozenset((*self.keep, *needed))

    def applies_to(self, base: RunConfig) -> bool:
        """Return True if the row is for this model and one of its sources can vary in it."""
        if self.models and base.model not in self.models:
            return False
        return not self.varies or bool(self.varying(base))

    def varying(self, base: RunConfig) -> tuple[Source, ...]:
        """Return the row's sources that can vary in a model, given its configuration.

        Nothing is stochastic without dropout and weight offsets, nothing is augmented without
        crops and flips, the vendor's kernels take no low-level order, and a text is not shuffled.
        """
        config = self.config(base)
        present = {
            "shuffle": config.language is None,
            "stochastic": (
                config.dropout > 0 or config.weight_offset > 0
                if config.language is None
                else config.language.stochastic
            ),
            "augment": config.crop_padding > 0 or config.flip or config.resized_crop,
            # The control is trained with the model's own setting.
            "lowlevel": base.lowlevel not in ("off", "exact"),
        }
        return tuple(source for source in self.varies if present.get(source, True))

    def frees_vendor(self, base: RunConfig) -> bool:
        """Return True if the vendor's kernels may race in the row's runs of a model."""
        return self.config(base).lowlevel == "vendor" and "lowlevel" in self.varying(base)

    def job(self, base: RunConfig, run: int, data: str = "") -> Job:
        """Return run number `run`, counted from 0, on the data set with the digest `data`.

        The control repeats equal work; every repetition is trained. In a crossed design, the digits
        of `run` to the base `levels` are the numbers of each source's seed (`own_seed`), the lowest
        for the last.
        """
        config = self.config(base)
        constant = config.held_seed
        if not self.varies:
            return Job(config, held(constant), repeat=run, data=data)
        if self.design == "tandem":
            return Job(config, varied(self.varies, run, constant), onset=self.onset, data=data)
        assert self.levels is not None
        seeds = {}
        for source in reversed(self.varies):
            run, digit = divmod(run, self.levels)
            seeds[source] = own_seed(digit, constant)
        return Job(config, replace(held(constant), **seeds), onset=self.onset, data=data)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON types; `from_json` is its inverse."""
        return {
            "name": self.name,
            "varies": list(self.varies),
            "settings": {
                name: settings_json(value)
                if name in GROUPS
                else (list(value) if isinstance(value, tuple) else value)
                for name, value in self.settings.items()
            },
            "onset": asdict(self.onset),
            "output": self.output,
            "design": self.design,
            "levels": self.levels,
            "runs": self.runs,
            "keep": list(self.keep),
            "models": list(self.models),
        }

    @staticmethod
    def from_json(data: Any, where: str = "") -> "Row":
        """Return the row that `to_json` described; missing entries have their defaults.

        data: any JSON value. where: its path, with which errors begin.

        Raises SchemaError (a ValueError) for anything else.
        """
        read = dict(check(_json_type(), data, where))
        for name in ("varies", "keep", "models"):
            if name in read:
                read[name] = tuple(read[name])
        settings = dict(read.get("settings", {}))
        with locating(where, data):
            for name, spec in GROUPS.items():
                if name in settings:
                    settings[name] = spec(**settings[name])
            if "milestones" in settings:
                settings["milestones"] = tuple(settings["milestones"])
            return Row(**read | {"settings": settings, "onset": Onset(**read.get("onset", {}))})


@functools.cache
def _json_type() -> Any:
    settings = {name: json_type(declared) for name, declared in setting_types().items()}
    settings |= {name: json_type(spec) for name, spec in GROUPS.items()}
    types = {
        **field_types(Row),
        "settings": object_type("Settings", settings, ()),
        "runs": RunCount | None,
        "levels": RunCount | None,
    }
    return object_type("Row", types, required_fields(Row))


def _check_output(owner: str, output: str) -> None:
    """Raise SettingError for an output that is not in OUTPUTS."""
    if output not in OUTPUTS:
        raise SettingError(
            f"{owner} has output {output!r}; {hint(output, OUTPUTS)}known: "
            f"{', '.join(MODELS_OF)}, or one of them followed by / and one of {', '.join(TTA)}",
            "output",
        )
