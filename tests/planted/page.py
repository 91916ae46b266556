"""The page docs/causes.md: the table of causes, and what was found in every planted script."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nondet.tracing.causes import CAUSES
from planted.plan import PLAN, Planted, Run

PAGE = Path(__file__).parents[2] / "docs" / "causes.md"
WIDTH = 100

_INTRODUCTION = """\
`nondet diff` names the known causes that fit what two traces show. This page lists them: what in
the traces speaks for a cause, and what to do about it. Causes that the traces show go before those
that they only agree with, and only the best of these are named; where none fits, `nondet diff` says
so.

The page is written by `python tests/planted/update.py` from
[the table](../python/nondet/tracing/causes/table.py); edit that.
"""

_CONFUSION = """\
Every script in [tests/planted](../tests/planted) has one cause. The first ones differ in two runs
of one command; they ran until two runs differed. Of the others, a was run twice and compared with
itself, and with b.
"""

_GPU = "a GPU"

WITHOUT = {
    "unstable-operation": (
        "a recorder that runs other operations again than this one, which repeats only `index_put` "
        "and `put`: their races have causes of their own"
    ),
    "other-version": "two versions of a library",
    "collective-order": "several GPUs",
    **dict.fromkeys(("gpu-model", "tf32", "cudnn-choice", "attention-backward"), _GPU),
    **dict.fromkeys(("gpu-atomics", "unsynchronized-copy"), _GPU),
    **dict.fromkeys(("compiled-kernel", "cublas-workspace"), _GPU),
}
"""Causes that no script shows on one machine with a CPU, and what it would take."""

_ROW = re.compile(r"\| \[(\w+)\]\(\S+\) \| .* \| `(\S+)` \| (.*) \| (.*) \| (.*) \|")


class Found(NamedTuple):
    """What was found in a planted script.

    named: ids of the causes that were named, in any stream. lines: numbers of the lines of first
    differences. again: what comparing two equal runs gave, "" where runs differ by themselves.
    """

    script: str
    named: tuple[str, ...]
    lines: tuple[int, ...]
    again: str


def render(found: Sequence[Found]) -> str:
    """Return the page."""
    parts = [
        "# Causes of other results\n",
        _INTRODUCTION,
        "## Planted scripts and the causes named\n",
        _CONFUSION,
        _summarize(found),
        _confusion_table(found),
        "## Causes without a script\n",
        _without(),
    ]
    parts += ["## The causes\n", *(_section(cause.id) for cause in CAUSES)]
    return "\n".join(parts)


def parse(page: str) -> list[Found]:
    """Return what a page says was found."""
    return [
        Found(script, tuple(_codes(named)), tuple(map(int, re.findall(r"\d+", lines))), again)
        for script, _, named, lines, again in _ROW.findall(page)
    ]


def _summarize(found: Sequence[Found]) -> str:
    wanted = {planted.script: planted.cause for planted in PLAN}
    alone = sum(each.named == (wanted[each.script],) for each in found)
    missed = sum(wanted[each.script] not in each.named for each in found)
    equal = [each for each in found if each.again]
    silent = sum(each.again == "equal" for each in equal)
    summary = _wrap(
        f"Of {len(found)} scripts, {alone} had their own cause named and no other; in {missed} it "
        f"was not named. Of {len(equal)} pairs of equal runs, {silent} were found equal."
    )
    return f"{summary}\n"


def _confusion_table(found: Sequence[Found]) -> str:
    plan = {planted.script: planted for planted in PLAN}
    rows = [
        "| script | runs a and b | planted | named | line | a and a |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        planted = plan[each.script]
        link = f"[{each.script}](../tests/planted/{each.script}.py)"
        named = ", ".join(f"`{cause}`" for cause in each.named) or "none"
        lines = ", ".join(map(str, each.lines))
        rows.append(
            f"| {link} | {_runs(planted)} | `{planted.cause}` | {named} | {lines} | {each.again} |"
        )
    return "\n".join([*rows, ""])


def _without() -> str:
    """Return the causes that have no script, by what a script would take."""
    intro = _wrap("No script shows these on one machine with a CPU. It would take:")
    items = [
        textwrap.fill(
            f"- {what}: {', '.join(f'`{each}`' for each in WITHOUT if WITHOUT[each] == what)}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for what in dict.fromkeys(WITHOUT.values())
    ]
    return "\n".join([intro, "", *items, ""])


def _runs(planted: Planted) -> str:
    if planted.repeats:
        return "the same command"
    return f"{_run(planted.a)}; {_run(planted.b)}"


def _run(run: Run) -> str:
    words = [*(f"{name}={value}" for name, value in run.environment.items()), *run.arguments]
    return f"`{' '.join(words)}`" if words else "plain"


def _codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def _section(identity: str) -> str:
    cause = next(cause for cause in CAUSES if cause.id == identity)
    sign = f"**Sign:** {cause.sign}."
    advice = f"**What to do:** {cause.advice}"
    paragraphs = [_wrap(text) for text in (sign, advice)]
    return "\n".join([f"### `{cause.id}`: {cause.title}\n", "\n\n".join(paragraphs), ""])


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
