"""Test the root of the command: help, version, completion, and JSON for programs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nondet
from factories.commands import nondet as command
from factories.studies import made_study
from nondet.cli.app import app
from nondet.studies.catalog import STUDIES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "command-line.md"
COMMANDS = [each.name or each.callback.__name__ for each in app.registered_commands]


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def parsed(done):
    assert done.stdout.isascii()
    return json.loads(done.stdout, parse_constant=refuse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_study(tmp_path_factory.mktemp("made") / "study").root


def test_version_is_that_of_the_package():
    assert command("--version").stdout == f"nondet {nondet.__version__}\n"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_h_is_help(name):
    short, long = (command(*filter(None, [name]), option) for option in ("-h", "--help"))
    assert (short.exit_code, long.exit_code) == (0, 0)
    assert short.stdout == long.stdout
    assert "Usage" in short.stdout


def test_commands_stand_in_the_order_of_use(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    shown = re.findall(r"^[│ ] ?([a-z][a-z-]+)  ", command("--help").stdout, re.MULTILINE)
    assert shown[:4] == ["run", "report", "studies", "ls"]
    assert set(shown) == set(COMMANDS)


def test_every_command_is_on_the_page():
    assert set(COMMANDS) <= set(
        re.findall(r"^\| `nondet ([a-z-]+)", PAGE.read_text(), re.MULTILINE)
    )


def test_the_package_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "nondet", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"nondet {nondet.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell):
    script = "import nondet.cli, sys; sys.argv[0] = 'nondet'; nondet.cli.main()"
    words = {"ver": {"verify", "verify-resume"}, "run --dry": {"--dry-run"}}
    for typed, known in words.items():
        environment = {
            **os.environ,
            "_NONDET_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": f"nondet {typed}",
            "COMP_CWORD": str(len(typed.split())),
            "_TYPER_COMPLETE_ARGS": f"nondet {typed}",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert known <= set(re.findall(r"[\w-]+", done.stdout)), (done.stdout, done.stderr)


def test_ls_as_json(folder):
    document = parsed(command("ls", folder, "--json"))
    assert (document["format"], document["version"]) == ("nondet ls", 1)
    [study] = document["studies"]
    assert study["folder"] == str(folder)
    assert (study["study"], study["models"], study["damaged"]) == ("quick", ["linear"], [])
    assert study["total"]["planned"] == 16
    assert study["total"]["failed"] == 2
    rows = {(row["model"], row["row"]): row for row in study["rows"]}
    assert rows["linear", "control"]["stored"] == 2
    inside = parsed(command("ls", folder.parent, "--json"))
    assert [each["folder"] for each in inside["studies"]] == [str(folder)]


def test_ls_as_json_has_null_for_what_is_no_number(folder, monkeypatch):
    monkeypatch.setattr("nondet.store.listing._mean", lambda values: float("nan"))
    [study] = parsed(command("ls", folder, "--json"))["studies"]
    assert study["total"]["accuracy"] is None


def test_verify_as_json(folder, tmp_path):
    done = command("verify", folder, "--json")
    document = parsed(done)
    assert (document["format"], document["version"]) == ("nondet verify", 1)
    [study] = document["studies"]
    assert document["sound"] == (done.exit_code == 0) == (study["problems"] == [])
    assert study["folder"] == str(folder)
    assert study["runs"] == 15


def test_verify_as_json_lists_problems(tmp_path):
    store = made_study(tmp_path / "study")
    next(store.runs.glob("*/run.json")).write_bytes(b"{}")
    done = command("verify", store.root, "--json")
    document = parsed(done)
    assert done.exit_code == 1
    assert not document["sound"]
    assert document["studies"][0]["problems"]


def test_studies_as_json():
    document = parsed(command("studies", "--no-calibrate", "--json"))
    assert (document["format"], document["version"]) == ("nondet studies", 1)
    assert [study["study"] for study in document["studies"]] == list(STUDIES)
    for study in document["studies"]:
        assert set(study["presets"]) == set(STUDIES[study["study"]].presets)
        for preset in study["presets"].values():
            assert preset["runs"] > 0
            assert preset["core_seconds"] is None
            assert preset["datasets"]


@pytest.mark.parametrize("name", ["ls", "verify"])
def test_an_error_prints_no_json(name, tmp_path):
    done = command(name, tmp_path, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_every_entry_is_on_the_page(folder):
    named = set(re.findall(r"`(\w+)`", PAGE.read_text().partition("## JSON")[2]))
    seen: set[str] = set()

    def keys(value, free=False):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                seen.update(() if free else each)
                for name, inner in each.items():
                    keys(inner, free=name == "presets")

    for arguments in (["ls", folder], ["verify", folder], ["studies", "--no-calibrate"]):
        keys(parsed(command(*arguments, "--json")))
    assert seen <= named
