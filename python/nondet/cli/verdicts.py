"""What `nondet diff` prints."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from nondet.tracing.compare.evidence import Outcome, Rerun, StreamVerdict, Verdict
from nondet.tracing.compare.wording import (
    NOTHING_FITS,
    conclusion,
    consequences,
    describe_rerun,
    details,
    headline,
    to_keep_values,
)
from nondet.tracing.records import Unseen

_STYLES: dict[Outcome, str] = {
    "equal": "bold green",
    "different": "bold red",
    "not compared": "bold yellow",
}
_NARROWEST = 20
_LABELS = 12


def print_verdict(verdict: Verdict, console: Console, rerun: Rerun | None = None) -> None:
    """Print what a comparison of two traces found; rerun: what running both again showed."""
    printer = _Printer(console)
    printer.text(f"a: {verdict.a}", style="dim")
    printer.text(f"b: {verdict.b}", style="dim")
    printer.text(conclusion(verdict), style=_STYLES[verdict.outcome])
    printer.items("", verdict.reasons, style="yellow")
    printer.items("The environments differ:", [each.sentence for each in verdict.headers])
    printer.items("Only a has:", verdict.missing)
    printer.items("Only b has:", verdict.extra)
    # What another stream explains comes last.
    parted = [each for each in verdict.streams if each.evidence.first is not None]
    for stream in sorted(parted, key=lambda each: each.source is not None):
        printer.stream(stream, rerun if rerun is not None and rerun.role == stream.role else None)
    for name, unseen in zip(("a", "b"), verdict.unseen, strict=True):
        printer.items(f"What the trace {name} did not see:", list(_unseen(unseen)))


class _Printer:
    """Prints texts. They may come from a stranger's trace: nothing in them is markup, and
    characters that steer a terminal are not printed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def stream(self, verdict: StreamVerdict, rerun: Rerun | None) -> None:
        """Print where two streams part, and why."""
        evidence = verdict.evidence
        first = evidence.first
        assert first is not None
        self.text("")
        roles = dict.fromkeys(side.role for side in evidence.sides)
        self.text(" / ".join(roles), style="bold underline")
        self.text(headline(first), style="bold")
        for label, text in details(verdict):
            self.text(f"{label + ':':<{_LABELS}}{text}", indent=2, hanging=_LABELS)
        for number, each in enumerate(verdict.explanations):
            self.text(f"{'Or' if number else 'Cause'}: {each.title.rstrip('.')}.", style="bold")
            self.text(each.because, indent=2)
            self.text(each.advice, indent=2)
        if evidence.by_value and not verdict.explanations and verdict.source is None:
            self.text(NOTHING_FITS)
        for sentence in consequences(verdict):
            self.text(sentence)
        if rerun is not None:
            self.text(describe_rerun(rerun), style="bold")
        elif (command := to_keep_values(verdict)) is not None:
            self.text("To see how far the values are apart, add --rerun, or record both runs with")
            # In one line, to be copied.
            self.console.print(Text(f"  {self._printable(command)}"), soft_wrap=True)
        if verdict.problem:
            self.text(f"Not read to the end: {verdict.problem}", style="yellow")

    def items(self, heading: str, texts: Sequence[str], style: str = "") -> None:
        """Print a list under a heading, unless it is empty."""
        if texts and heading:
            self.text(heading, style="bold")
        for text in texts:
            self.text(f"- {text}", style=style, indent=2, hanging=2)

    def text(self, text: str, style: str = "", indent: int = 0, hanging: int = 0) -> None:
        """Print a text, wrapped: indented, and from the second line on by `hanging` more."""
        width = max(_NARROWEST, self.console.width - 1)
        filled = textwrap.fill(
            self._printable(text),
            width,
            initial_indent=" " * indent,
            subsequent_indent=" " * min(indent + hanging, width // 3),
            break_on_hyphens=False,
            break_long_words=False,
        )
        self.console.print(Text(filled, style=style), soft_wrap=True)

    def _printable(self, text: str) -> str:
        encoding = self.console.encoding
        shown = "".join(char if char.isprintable() else "?" for char in text)
        return shown.encode(encoding, "replace").decode(encoding)


def _unseen(unseen: Sequence[Unseen]) -> Iterator[str]:
    for each in unseen:
        times = f" ({each.count} times)" if each.count > 1 else ""
        yield f"{each.kind}: {each.what}{times}"
