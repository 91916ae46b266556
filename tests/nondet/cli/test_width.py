"""Test what commands print on narrow and wide outputs: no word is broken, no column is lost without
a note.
"""

import re

import pytest

from factories.commands import nondet as command
from factories.studies import made_study
from nondet.report.render.terminal import Heading, make_console, print_columns


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_study(tmp_path_factory.mktemp("made") / "study").root


@pytest.mark.parametrize(
    ("columns", "width"), [(None, 100), ("", 100), ("80", 80), ("160", 160), ("x", 100), ("0", 1)]
)
def test_the_width_of_what_is_no_terminal(columns, width, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert make_console().width == width
    assert make_console(stderr=True).width == width


def words_of(text):
    return set(re.findall(r"\w{2,}", text))


@pytest.mark.parametrize(
    "width", [80, *(pytest.param(width, marks=pytest.mark.slow) for width in (100, 60, 40))]
)
@pytest.mark.parametrize("name", ["report", "ls", "ls of several", "studies"])
def test_no_word_is_broken_and_no_column_lost_in_silence(name, width, folder, monkeypatch):
    arguments = {
        "report": ["report", folder],
        "ls": ["ls", folder],
        "ls of several": ["ls", folder.parent],
        "studies": ["studies", "--no-calibrate"],
    }[name]
    monkeypatch.setenv("COLUMNS", "1000")
    whole = command(*arguments).stdout
    monkeypatch.setenv("COLUMNS", str(width))
    done = command(*arguments)
    assert done.exit_code == 0
    assert words_of(done.stdout) <= words_of(whole) | words_of(
        "Left out for lack of room; nondet ls studies json tables/spread.csv has them"
    )
    paths = [line for line in done.stdout.splitlines() if str(folder) in line]
    assert all(len(line) <= width for line in done.stdout.splitlines() if line not in paths)
    lost = words_of(whole) - words_of(done.stdout) - words_of("SD to scale")  # bars
    assert not lost or "Left out for lack of room: " in done.stdout


def test_the_note_names_what_is_left_out_and_where_it_is(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    headings = (Heading("row", right=False, least=8), Heading("first\npp"), Heading("second\nnats"))
    rows = [("a b c d e f g h", "1" * 12, "2" * 12), None, ("all", "", "")]
    print_columns(make_console(), headings, rows, "there")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert not any("2222" in line for line in lines)
    assert any("111111111111" in line for line in lines)
    note = " ".join(" ".join(lines[-2:]).split())
    assert note == "Left out for lack of room: second nats; there."


def test_markup_in_a_name_is_shown_as_it_is(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    print_columns(make_console(), (Heading("a"), Heading("b")), [("[bold]x[/]", "[/oops]")], "")
    output = capsys.readouterr().out
    assert "[bold]x[/]" in output
    assert "[/oops]" in output
