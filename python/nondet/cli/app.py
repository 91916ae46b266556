"""The root of the command, its options and its errors."""

import sys
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

import nondet
from nondet.characters import printable
from nondet.names import alternatives

Choice = TypeVar("Choice", bound=StrEnum)

STUDY_GROUP, SCORE_GROUP, TRACE_GROUP = "Studies", "Comparisons", "Traces"
MACHINE_GROUP = "This machine"
"""The groups of commands in the help."""

_ORDER = (
    *("run", "report", "studies", "ls", "verify", "verify-resume"),
    *("compare", "plan", "trace", "diff", "selftest"),
)
"""The commands in the order of the help; others follow them."""


class _Commands(TyperGroup):
    """The commands, in the order in which a reader needs them; a wrong name is answered with
    similar ones.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        known = [name for name in _ORDER if name in self.commands]
        return [*known, *(name for name in self.commands if name not in known)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, or end with similar names."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not ctx.resilient_parsing and not name.startswith("-"):
            ctx.fail(f"there is no command {name!r}; {alternatives(name, known)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Measure how far each source of nondeterminism spreads the results of training.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # which wraps paragraphs anew
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"nondet {nondet.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def parse_choice(kind: type[Choice], text: str) -> Choice:
    """Return the member of an enumeration with this value.

    Raises typer.BadParameter, with similar values, if there is none.
    """
    known = [each.value for each in kind]
    if text not in known:
        raise typer.BadParameter(f"{text!r}; {alternatives(text, known)}")
    return kind(text)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/command-line.md).")]


def fail(message: str) -> NoReturn:
    """Print an error and end the command with exit status 2."""
    print(f"error: {printable(message, lines=True)}", file=sys.stderr)
    raise typer.Exit(2)
