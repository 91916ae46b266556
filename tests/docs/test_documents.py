"""README and docs: every Python snippet runs, and commands and numbers agree with what they speak
of.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "docs" / "results"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / folder / "README.md" for folder in ("csrc", "bench/results", "tests/emulation")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
WRITTEN = [page for page in PAGES if page.name != "report.md"]  # reports are generated


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda p: p.name)
def test_snippets_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for snippet in snippets(page):
        exec(compile(snippet, page.name, "exec"), namespace)


def wide_lines(text: str) -> list[str]:
    """Return the lines over 100 characters that could be wrapped: none of a table, of code, of a
    link or an image alone.
    """
    wide, code = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            code = not code
        elif len(line) > 100 and not code and not re.match(r"\s*(\||!?\[[^]]*\]\S*$)", line):
            wide.append(line)
    return wide


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_line_is_too_wide(page):
    assert wide_lines(page.read_text()) == []


def test_a_wide_line_is_found():
    wide = "word " * 30
    assert wide_lines(f"short\n{wide}\n") == [wide]
    assert wide_lines(f"```\n{wide}\n```\n| {wide} |\n![{wide}](figure.svg)\n") == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([^)#]+)", index))


def test_readme_has_a_snippet():
    assert snippets(ROOT / "README.md")


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    test_commands = [c.strip() for c in commands if "pytest" in c]
    assert len(test_commands) == 1
    assert f"\n{test_commands[0]}\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_files_exist(page):
    for name in re.findall(
        r"`((?:csrc|docs|tests|bench|python|nondet_ext|\.ci)/[\w./-]*)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name
