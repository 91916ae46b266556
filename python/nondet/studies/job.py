"""A training to be done: a configuration and seeds, with the address of its result."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError
from nondet.studies.seeds import HELD, Onset, Seeds

FORMAT = 2
"""The version of the meaning of a job.

It is increased whenever equal configurations and seeds no longer mean equal training, so that older
runs are not reused.
"""


@dataclass(frozen=True)
class Job:
    """One training to be done.

    Attributes:
        config: The configuration.
        seeds: One seed per source of nondeterminism.
        repeat: A number that distinguishes repetitions of equal work, as in the control row.
        onset: The epoch from which each source follows its seed.
    """

    config: RunConfig
    seeds: Seeds
    repeat: int = 0
    onset: Onset = field(default_factory=Onset)

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
            if getattr(self.seeds, source.name) != HELD and getattr(self.onset, source.name) > 0
        }
        return {
            "format": FORMAT,
            "config": self.config.to_json(),
            "seeds": asdict(self.seeds),
            "onset": late,
            "repeat": self.repeat,
        }

    @property
    def address(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the canonical JSON of `identity()`."""
        return address_of(self.identity())


def address_of(identity: Mapping[str, Any]) -> str:
    """Return the address of the job with this `identity()`."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
