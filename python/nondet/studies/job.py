"""A training to be done: a configuration, seeds and data, with the address of its result."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from nondet.schemas import Matching, Natural, Range, SchemaError, check, join
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError
from nondet.studies.schema import Seed, locating, object_type
from nondet.studies.seeds import SOURCES, Onset, Seeds, is_held

FORMAT = 3
"""The version of the meaning of a job.

It is increased whenever equal configurations, seeds and data no longer mean equal training, so that
older runs are not reused.
"""


@dataclass(frozen=True)
class Job:
    """One training to be done.

    Attributes:
        config: The configuration.
        seeds: One seed per source of nondeterminism.
        repeat: A number that distinguishes repetitions of equal work, as in the control row.
        onset: The epoch from which each source follows its seed.
        data: The digest of the data set (`Dataset.sha256`, `TextDataset.sha256`); empty if it is
            not known.
    """

    config: RunConfig
    seeds: Seeds
    repeat: int = 0
    onset: Onset = field(default_factory=Onset)
    data: str = ""

    def __post_init__(self) -> None:
        for source in fields(Onset):
            epoch = getattr(self.onset, source.name)
            if epoch > self.config.epochs:
                raise SettingError(
                    f"the onset of {source.name} is epoch {epoch}; the training has "
                    f"{self.config.epochs} epochs",
                    f"onset.{source.name}",
                    "epochs",
                )

    def identity(self) -> dict[str, Any]:
        """Return the job as JSON types; equal jobs give equal dictionaries.

        The onset of a source that is held throughout changes nothing and is left out.
        """
        late = {
            source.name: getattr(self.onset, source.name)
            for source in fields(Onset)
            if getattr(self.onset, source.name) > 0
            and not is_held(self.seeds, source.name, self.config.held_seed)
        }
        return {
            "format": FORMAT,
            "config": self.config.to_json(),
            "seeds": asdict(self.seeds),
            "onset": late,
            "repeat": self.repeat,
            "data": self.data,
        }

    @staticmethod
    def from_identity(identity: Any, where: str = "") -> "Job":
        """Return the job with this `identity()`, which may also be of the format before.

        identity: any JSON value. where: its path, with which errors begin.

        Raises SchemaError (a ValueError) for anything else, with the path of the entry:
        "seeds.shuffle".
        """
        read = check(_identity_type(), identity, where)
        if (read["format"] == FORMAT) != ("data" in read):
            given = "is missing" if read["format"] == FORMAT else "there is no such entry"
            raise SchemaError(join(where, "data"), f"{given} in format {read['format']}")
        seeds, late = Seeds(**read["seeds"]), Onset(**read["onset"])
        config = RunConfig.from_json(read["config"], join(where, "config"))
        for source in read["onset"]:
            if is_held(seeds, source, config.held_seed):
                raise SchemaError(
                    join(where, "onset", source),
                    f"must be left out, because the {source} seed is held",
                )
        with locating(where, identity):
            return Job(config, seeds, read["repeat"], late, read.get("data", ""))

    @property
    def address(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the canonical JSON of `identity()`."""
        return address_of(self.identity())


@functools.cache
def _identity_type() -> Any:
    first_epoch = Annotated[int, Range(1, 2**63 - 1)]
    late = {source.name: first_epoch for source in fields(Onset)}
    types = {
        "format": Literal[2, 3],
        "config": Any,
        "seeds": object_type("Seeds", dict.fromkeys(SOURCES, Seed), SOURCES),
        "onset": object_type("Onset", late, ()),
        "repeat": Natural,
        "data": Annotated[str, Matching("([0-9a-f]{64})?", "a SHA-256 or an empty text")],
    }
    return object_type("Identity", types, set(types) - {"data"})


def address_of(identity: Mapping[str, Any]) -> str:
    """Return the address of the job with this `identity()`."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
