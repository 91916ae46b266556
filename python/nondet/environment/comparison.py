"""Compares environments: which parts decide the bits of a result, and where two or more differ.

Environments are read from files, so every function takes any JSON value for one, or for a part.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nondet.environment.parts import as_text, flatten, one_line

# Names in nondet_ext.build_info() before and after a renaming: older records hold the former.
_RENAMED = {"cpu_paths": "cpu_isas", "cpu_path": "cpu_isa"}

_LATER = {"settings.cuda.torch.backends.cudnn.benchmark_limit": "10"}
"""Parts that older records of a CUDA device lack, with the values that they had: torch's own."""

_DECISIVE = {
    "device",
    "torch_threads",
    "torch_cpu_capability",
    "deterministic_algorithms",
    "packages.torch",
    "packages.nondet",
    "gpu",
    "cuda",
    "cudnn",
}
_DECISIVE_GROUPS = ("settings", "probe")

# Rows of one study may have other devices and numbers of threads, and with them other values of
# these.
_GROUP = ("device", "torch_threads")
_VARY_BETWEEN_GROUPS = {"gpu", "cuda", "cudnn", "probe"}

# Of the parts that do not decide, those that cannot be the cause of other bits.
_NO_CAUSE = {"git"}


def with_current_names(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded environment under the names that describe_environment() uses today."""
    build = environment.get("nondet_ext")
    if not isinstance(build, Mapping):
        return dict(environment)
    renamed = {_RENAMED.get(name, name): value for name, value in build.items()}
    return {**environment, "nondet_ext": renamed}


def decisive(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of an environment that decide the bits of a result, by dotted name.

    They are the device, the number of threads, the versions of torch and nondet, the processor's
    capability that torch uses, all of `settings` and all of `probe`; for a CUDA device, its name
    and the versions of CUDA and cuDNN. Other parts, such as the driver, are only reported.
    """
    return _choose(environment, _is_decisive)


def differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    """Describe where two environments differ in what decides the bits of a result, a line each:
    "torch_cpu_capability: AVX2 there, AVX512 here". An empty list means that results of both may be
    compared.

    If only digests of the probe differ, a last line names the reported parts that differ.
    theirs: of stored work ("there"). mine: of this process ("here").
    """
    there, here = _aligned([decisive(theirs), decisive(mine)])
    names = _differing(there, here)
    lines = [_line(name, there, here) for name in names]
    if names and all(name.startswith("probe.") for name in names):
        lines.append(_hint(theirs, mine))
    return lines


def mixture(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describe where the environments of the runs of one study differ so that results must not be
    compared, a line each: "torch_cpu_capability: AVX2 (9 runs), AVX512 (7 runs)". An empty list
    means that all may be compared.

    Rows of a study may compute on other devices or with other numbers of threads. Runs for which
    both are equal must agree in all that decides; all others, in all but the probe and what belongs
    to a device: its name, the versions of CUDA and cuDNN, and the settings of its libraries.
    environments: one for each run, in any order.
    """
    counts: Counter[str] = Counter()
    distinct: dict[str, dict[str, Any]] = {}
    for environment in environments:
        parts = decisive(environment)
        key = _canonical(parts)
        counts[key] += 1
        distinct[key] = parts
    runs = [(parts, counts[key]) for key, parts in distinct.items()]
    groups: dict[str, list[tuple[dict[str, Any], int]]] = {}
    for parts, count in runs:
        group = _canonical({name: parts[name] for name in _GROUP if name in parts})
        groups.setdefault(group, []).append((parts, count))

    lines = _mixed(runs, lambda name: name not in _GROUP and not _varies_between_groups(name))
    for _, members in sorted(groups.items()):
        settings = ", ".join(f"{name} {_shown(name, members[0][0])}" for name in _GROUP)
        where = f" ({settings})" if len(groups) > 1 else ""
        lines += _mixed(members, _varies_between_groups, where)
    return lines


def short_digest(environment: Mapping[str, Any]) -> str:
    """Return 12 hex digits of a SHA-256 of the parts that decide the bits of a result."""
    return hashlib.sha256(_canonical(decisive(environment)).encode()).hexdigest()[:12]


# -- parts by dotted name ----------------------------------------------------------------------


def _first(name: str) -> str:
    return name.partition(".")[0]


def _is_decisive(name: str) -> bool:
    return name in _DECISIVE or _first(name) in _DECISIVE_GROUPS


def _is_possible_cause(name: str) -> bool:
    return not _is_decisive(name) and _first(name) not in _NO_CAUSE


def _varies_between_groups(name: str) -> bool:
    return _first(name) in _VARY_BETWEEN_GROUPS or name.startswith("settings.cuda.")


def _choose(environment: Any, chosen: Callable[[str], bool]) -> dict[str, Any]:
    if not isinstance(environment, Mapping):
        return {}
    flat = dict(flatten(with_current_names(environment)))
    if any(name.startswith("settings.cuda.torch.") for name in flat):
        flat = {**_LATER, **flat}
    return {name: value for name, value in flat.items() if chosen(name)}


def _aligned(sides: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts of several environments, but a group that some of them lack as a whole as
    one part, so that it is one difference. Older records lack the probe and the settings.
    """
    aligned = list(sides)
    for group in _DECISIVE_GROUPS:
        has = [any(_first(name) == group for name in side) for side in aligned]
        if any(has) and not all(has):
            aligned = [
                {name: value for name, value in side.items() if _first(name) != group}
                | ({group: "recorded"} if recorded else {})
                for side, recorded in zip(aligned, has, strict=True)
            ]
    return aligned


def _differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    def same(name: str) -> bool:
        # As text: true is not 1, and NaN is NaN.
        return name in there and name in here and as_text(there[name]) == as_text(here[name])

    return [name for name in sorted(there.keys() | here.keys()) if not same(name)]


# -- lines -------------------------------------------------------------------------------------


def _line(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    return f"{one_line(name)}: {_shown(name, there)} there, {_shown(name, here)} here"


def _hint(theirs: Any, mine: Any) -> str:
    there, here = _choose(theirs, _is_possible_cause), _choose(mine, _is_possible_cause)
    lines = [_line(name, there, here) for name in _differing(there, here)]
    if not lines:
        return (
            "(a fixed computation gives other bits, though nothing else that is recorded differs; "
            "perhaps a library was replaced)"
        )
    return f"(a fixed computation gives other bits; also different: {'; '.join(lines)})"


def _mixed(
    runs: Sequence[tuple[dict[str, Any], int]], chosen: Callable[[str], bool], where: str = ""
) -> list[str]:
    """Return a line for each chosen part that has several values. runs: parts, and how many runs
    have them.
    """
    sides = _aligned(
        [{name: value for name, value in parts.items() if chosen(name)} for parts, _ in runs]
    )
    lines = []
    for name in sorted({name for side in sides for name in side}):
        values: dict[str, tuple[str, int]] = {}  # canonical text: shown text, runs
        for side, (_, count) in zip(sides, runs, strict=True):
            key = as_text(side[name]) if name in side else ""
            _, before = values.get(key, ("", 0))
            values[key] = _shown(name, side), before + count
        if len(values) > 1:
            shown = [
                f"{text} ({count} {'run' if count == 1 else 'runs'})"
                for _, (text, count) in sorted(values.items())
            ]
            lines.append(f"{one_line(name)}{where}: {', '.join(shown)}")
    return lines


def _shown(name: str, parts: Mapping[str, Any]) -> str:
    """Return a part's value as a short text on one line."""
    if name not in parts:
        has_settings = any(_first(other) == "settings" for other in parts)
        return "not set" if _first(name) == "settings" and has_settings else "not recorded"
    value = parts[name]
    return one_line(value if isinstance(value, str) else as_text(value))


def _canonical(parts: Mapping[str, Any]) -> str:
    return json.dumps({name: as_text(value) for name, value in sorted(parts.items())})
