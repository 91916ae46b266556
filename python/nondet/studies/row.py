"""One row of a table: which sources vary, how, and what of its models is looked at."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from nondet.studies.config import Job, RunConfig
from nondet.studies.seeds import HELD, SOURCES, Onset, Seeds, Source, varied
from nondet.studies.settings import GROUPS, grouped, setting_types

Design = Literal["tandem", "crossed"]
Keep = Literal["taps", "tta", "twin", "weights"]
KEEPS: tuple[Keep, ...] = get_args(Keep)

MODELS_OF = ("final", "snapshots")
TTA = (
    "flip",
    "crops25",
    "crops81",
    "flip+crops25",
    "flip+crops81",
    "crops24",
    "crops80",
)
"""Test-time augmentations; crops24 and crops80 are crops25 and crops81 without the original."""


@dataclass(frozen=True)
class Row:
    """The sources that vary in tandem while the others are held; none in the control.

    settings: what differs in this row (see `studies.settings.setting_types`). onset: from which
    epoch on the sources vary. output: whose predictions are compared: of the "final" weights, or
    the mean logits of the "snapshots" of the schedule of that name; "/" and a test-time
    augmentation (`TTA`) may follow. design: "tandem", or "crossed": every combination of `levels`
    seeds of each source. runs: their number, where it is not the study's. keep: what is recorded
    beside the predictions: representations ("taps"), predictions under test-time
    augmentation ("tta"), distances to a held twin at every step ("twin"), the final weights
    ("weights"). models: those that the row is for; all of them if empty.
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
        owner = f"row {self.name!r}"
        for source in self.varies:
            if source not in SOURCES:
                raise ValueError(f"{owner} varies {source!r}; known sources: {', '.join(SOURCES)}")
        if len(set(self.varies)) < len(self.varies):
            raise ValueError(f"{owner} names a source twice: {', '.join(self.varies)}")
        check_settings(owner, self.settings)
        for name in ("dataset", "model"):
            if name in self.settings:
                raise ValueError(f"{owner} sets {name!r}, which is the same in all rows of a model")
        of, slash, scheme = self.output.partition("/")
        if of not in MODELS_OF or (slash and scheme not in TTA):
            raise ValueError(
                f"{owner} has output {self.output!r}; known: {', '.join(MODELS_OF)}, or one of "
                f"them followed by / and one of {', '.join(TTA)}"
            )
        if self.design not in get_args(Design):
            raise ValueError(f"{owner} has design {self.design!r}; known: tandem, crossed")
        for name in self.keep:
            if name not in KEEPS:
                raise ValueError(f"{owner} keeps {name!r}; known: {', '.join(KEEPS)}")
        if self.runs is not None and self.runs < 2:
            raise ValueError(f"{owner} has runs {self.runs}; a spread needs at least 2")
        if self.design == "tandem" and self.levels is not None:
            raise ValueError(f"{owner} has levels, which only the design 'crossed' has")
        if self.design == "crossed":
            if not self.varies:
                raise ValueError(f"{owner} is crossed, but varies nothing")
            if self.levels is None or self.levels < 2:
                raise ValueError(f"{owner} has levels {self.levels}; crossed needs at least 2")
            if self.runs is not None:
                raise ValueError(f"{owner} has runs, but the levels decide them: {self.count(0)}")

    def __hash__(self) -> int:
        return hash((self.name, self.varies))

    def config(self, base: RunConfig) -> RunConfig:
        """The configuration of this row's runs, from the model's."""
        return replace(base, **grouped(self.settings, vars(base))) if self.settings else base

    def count(self, runs: int) -> int:
        """How many runs the row has in a study of `runs` a row."""
        if self.design == "crossed":
            assert self.levels is not None
            return int(self.levels ** len(self.varies))
        return runs if self.runs is None else self.runs

    @property
    def keeps(self) -> frozenset[Keep]:
        """All that is recorded beside the final predictions, what `output` needs among it."""
        needed: tuple[Keep, ...] = ("tta",) if "/" in self.output else ()
        return frozenset((*self.keep, *needed))

    def applies_to(self, base: RunConfig) -> bool:
        """Whether the row is for this model and its sources have anything to vary in it: nothing
        stochastic happens without dropout or weight offsets, nothing is augmented without padding
        and flips, no low-level order is anyone's choice where it is left to the vendor's kernels. A
        text is read in its own order.
        """
        if self.models and base.model not in self.models:
            return False
        config = self.config(base)
        present = {
            "shuffle": config.language is None,
            "stochastic": (
                config.dropout > 0 or config.weight_offset > 0
                if config.language is None
                else config.language.stochastic
            ),
            "augment": config.crop_padding > 0 or config.flip,
            # The control is trained with the model's own setting.
            "lowlevel": base.lowlevel not in ("off", "exact"),
        }
        return not self.varies or any(present.get(source, True) for source in self.varies)

    def job(self, base: RunConfig, run: int) -> Job:
        """Run number `run` of this row. The control repeats equal work, every repetition a real
        training. Crossed: run is the number with digits (seed - HELD - 1) to base `levels`, the
        last source's the lowest.
        """
        config = self.config(base)
        if not self.varies:
            return Job(config, Seeds(), repeat=run)
        if self.design == "tandem":
            return Job(config, varied(self.varies, run), onset=self.onset)
        assert self.levels is not None
        seeds = {}
        for source in reversed(self.varies):
            run, digit = divmod(run, self.levels)
            seeds[source] = HELD + 1 + digit
        return Job(config, Seeds(**seeds), onset=self.onset)

    def to_json(self) -> dict[str, Any]:
        """The row as JSON types; `from_json` is its inverse."""
        return {
            "name": self.name,
            "varies": list(self.varies),
            "settings": {
                name: asdict(value) if name in GROUPS else value
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
    def from_json(data: Mapping[str, Any]) -> "Row":
        """The row that `to_json` described; what is left out has its default. Raises KeyError,
        TypeError or ValueError for anything else.
        """
        read = dict(data)
        for name in ("varies", "keep", "models"):
            if name in read:
                read[name] = tuple(read[name])
        settings = dict(read.get("settings", {}))
        for name, spec in GROUPS.items():
            if name in settings:
                settings[name] = spec(**settings[name])
        if "milestones" in settings:
            settings["milestones"] = tuple(settings["milestones"])
        return Row(**read | {"settings": settings, "onset": Onset(**read.get("onset", {}))})


def check_settings(owner: str, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for a name that is no setting, nor the name of a group of them."""
    known = setting_types()
    for name in settings:
        if name not in known and name not in GROUPS:
            raise ValueError(f"{owner} sets {name!r}; known settings: {', '.join(known)}")
