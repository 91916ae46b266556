"""docs/comparing-results.md: its commands run and print what the page shows."""

import re
import shlex
from pathlib import Path

import pytest

from factories.commands import nondet
from factories.score_files import harness_runs

PAGE = (Path(__file__).parents[2] / "docs" / "comparing-results.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TRAINED = [block for block in BLOCKS if "nondet run" in block]
READ = [block for block in BLOCKS if "nondet run" not in block]


def commands_of(block):
    """Return the commands of a block, each with the lines that it prints."""
    parts = re.split(r"^\$ nondet ", block, flags=re.MULTILINE)[1:]
    return [
        (shlex.split(head), rest.splitlines())
        for head, _, rest in (part.partition("\n") for part in parts)
    ]


def assert_shown(lines, printed):
    """Check that lines were printed in this order; "..." stands for any others."""
    following = iter(line.rstrip() for line in printed.splitlines())
    for line in lines:
        if line.strip() not in ("", "..."):
            assert line.rstrip() in following, line


def verdict_of(printed):
    """Return the words of the first verdict, without its numbers."""
    return re.search(r"• (.*?):", " ".join(printed.split()))[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the files that the page speaks of."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(re.search(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1], {})
    for seed, (name, level) in enumerate((("base", 0.60), ("tuned", 0.66)), 1):
        harness_runs(folder / name, level, 6, documents=300, seed=seed)
    for name, other in (("base", "one-run"), ("tuned", "another-run")):
        first = min((folder / name).iterdir())
        (folder / f"{other}.jsonl").write_bytes(first.read_bytes())
    (folder / "optimizers.toml").write_text(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    return folder


@pytest.mark.parametrize("block", READ, ids=lambda block: block.split("\n")[0][:40])
def test_what_the_page_shows_is_printed(block, folder, monkeypatch):
    monkeypatch.chdir(folder)
    ((arguments, lines),) = commands_of(block)
    done = nondet(*arguments)
    assert done.exit_code == 0, done.stderr
    assert len(lines) >= 2
    assert_shown(lines, done.stdout)


@pytest.mark.slow
def test_more_runs_turn_too_few_into_a_verdict(folder, monkeypatch):
    """Digits differ between processors; the verdicts must not."""
    monkeypatch.chdir(folder)
    verdicts = []
    for block in TRAINED:
        (training, _), (comparison, lines) = commands_of(block)
        done = nondet(*training, "--executor", "serial", "--quiet")
        assert done.exit_code == 0, done.stderr
        done = nondet(*comparison)
        assert done.exit_code == 0, done.stderr
        verdicts.append(verdict_of(done.stdout))
        assert verdicts[-1] == verdict_of("\n".join(lines))
    first, last = verdicts
    assert first == "too few runs"
    assert last.endswith("is better")
    assert (folder / "report" / "figures" / "comparison.svg").exists()


def test_a_line_that_is_not_printed_is_found():
    with pytest.raises(AssertionError):
        assert_shown(["a", "c", "b"], "a\nb\nc\n")
