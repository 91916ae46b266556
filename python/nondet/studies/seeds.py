"""Seeds, one per source of nondeterminism, and their Philox keys.

Every random draw of a training is a Philox draw (`nondet_ext.philox_bits`). Its key holds the
source and its seed; its counter identifies the draw (epoch, example, parameter). No global
generator is used, so no source can shift the draws of another.
"""

import functools
from dataclasses import dataclass, replace
from typing import Literal, get_args

from nondet.keys import Key
from nondet.names import hint
from nondet.plain import plain
from nondet.studies.errors import SettingError, SettingTypeError
from nondet.studies.validation import MOST_EPOCHS, check_maximum, show

Source = Literal["init", "shuffle", "augment", "stochastic", "lowlevel", "bit"]
SOURCES: tuple[Source, ...] = get_args(Source)

HELD = 1
"""The value of a seed that is held constant (paper, Sec. 3.1), unless `RunConfig.held_seed` names
another (its Appendix D).

For the sources `ABSENT`, the held value means their absence, and is always 1: `bit == HELD` changes
no bit, as the paper's cuDNN seed of 1 means "deterministic".
"""

ABSENT: tuple[Source, ...] = ("lowlevel", "bit")

# The second half of every Philox key, so that draws of different sources never share a key.
STREAMS: dict[Source, int] = {
    "init": 1,
    "shuffle": 2,
    "augment": 3,
    "stochastic": 4,
    "lowlevel": 5,
    "bit": 6,
}


def philox_key(source: Source, seed: int) -> Key:
    """Return the Philox key of a source with a seed in [0, 2**32).

    Raises ValueError for an unknown source or a seed out of range, TypeError for a seed that is no
    integer.
    """
    if source not in STREAMS:
        known = f"{hint(source, SOURCES)}known sources: {', '.join(SOURCES)}"
        raise ValueError(f"source is {source!r}; {known}")
    seed = plain(seed)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"the {source} seed is {seed!r}; it must be an integer")
    if not 0 <= seed < 2**32:
        raise ValueError(f"the {source} seed is {seed}; it must lie in [0, 2**32)")
    return Key(seed, STREAMS[source])


@dataclass(frozen=True)
class Seeds:
    """The seeds of a run, one per source; `HELD` by default."""

    init: int = HELD
    shuffle: int = HELD
    augment: int = HELD
    stochastic: int = HELD
    lowlevel: int = HELD
    bit: int = HELD

    def __post_init__(self) -> None:
        for source in SOURCES:
            object.__setattr__(self, source, plain(getattr(self, source)))
            self.key(source)

    def key(self, source: Source) -> Key:
        """Return the Philox key of a source."""
        return philox_key(source, getattr(self, source))


@dataclass(frozen=True)
class Onset:
    """The epoch, counted from 0, from which each source follows its seed (paper, Fig. 2).

    Before that epoch the source is held. Initial weights are drawn at the beginning and have no
    onset.
    """

    shuffle: int = 0
    augment: int = 0
    stochastic: int = 0
    lowlevel: int = 0
    bit: int = 0

    def __post_init__(self) -> None:
        for source, given in [*vars(self).items()]:
            epoch = plain(given)
            object.__setattr__(self, source, epoch)
            if not isinstance(epoch, int) or isinstance(epoch, bool):
                raise SettingTypeError(
                    f"the onset of {source} is {show(epoch)}; it must be an integer",
                    f"onset.{source}",
                )
            if epoch < 0:
                raise SettingError(
                    f"the onset of {source} is {show(epoch)}; epochs are counted from 0",
                    f"onset.{source}",
                )
            check_maximum(f"onset.{source}", epoch, MOST_EPOCHS)


@functools.cache
def held(held_seed: int = HELD) -> Seeds:
    """Return the seeds of a training in which every source is held at this constant."""
    return Seeds(**{source: held_seed for source in SOURCES if source not in ABSENT})


def is_held(seeds: Seeds, source: str, held_seed: int) -> bool:
    """Return True if a source has the value at which it is held."""
    value: int = getattr(seeds, source)
    constant: int = getattr(held(held_seed), source)
    return value == constant


def effective(seeds: Seeds, onset: Onset, epoch: int, held_seed: int = HELD) -> Seeds:
    """Return the seeds during an epoch: sources are held before their onset."""
    constant = vars(held(held_seed))
    late = {name: constant[name] for name, start in vars(onset).items() if epoch < start}
    return replace(seeds, **late)


def own_seed(number: int, held_seed: int = HELD) -> int:
    """Return seed `number`, counted from 0, of a source that varies.

    They are HELD + 1, HELD + 2, ... without the constant at which others are held.
    """
    seed = HELD + 1 + number
    return seed + 1 if HELD < held_seed <= seed else seed


def number_of(seed: int, held_seed: int = HELD) -> int:
    """Return the number of a seed of a source that varies: the inverse of `own_seed`."""
    return seed - HELD - 1 - (HELD < held_seed < seed)


def varied(sources: tuple[Source, ...], run: int, held_seed: int = HELD) -> Seeds:
    """Return the seeds of a run of a row in which `sources` vary in tandem.

    run: the number of the run, counted from 0. The varying seeds are those of `own_seed`, never the
    held value, at which no bit is changed.
    """
    if run < 0:
        raise ValueError(f"run is {run}; runs are counted from 0")
    return replace(held(held_seed), **dict.fromkeys(sources, own_seed(run, held_seed)))
