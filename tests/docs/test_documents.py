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


SNIPPET = re.compile(r"^(<!-- continues -->\n)?```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""A snippet; one that continues those above it, and does not run alone, is marked."""


def snippets(page: Path) -> list[str]:
    return [code for _, code in SNIPPET.findall(page.read_text())]


def run(snippet: str, page: Path, namespace: dict[str, object]) -> None:
    exec(compile(snippet, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda p: p.name)
def test_snippets_run_and_run_again(page, tmp_path, monkeypatch):
    """A reader who repeats a page finds the files that it left before."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        namespace: dict[str, object] = {}
        for snippet in snippets(page):
            run(snippet, page, namespace)


LATER = [
    pytest.param(page, code, bool(mark), id=f"{page.name}-{number}")
    for page in PAGES
    for number, (mark, code) in enumerate(SNIPPET.findall(page.read_text()))
    if number > 0 or mark
]


@pytest.mark.parametrize(("page", "snippet", "continues"), LATER)
def test_a_snippet_runs_alone_unless_it_is_marked(page, snippet, continues, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if continues:
        with pytest.raises((NameError, FileNotFoundError, ValueError)):
            run(snippet, page, {})
    else:
        run(snippet, page, {})


def test_no_snippet_hides_from_the_tests():
    """Every fence of Python stands at the beginning of a line."""
    for page in WRITTEN:
        assert len(re.findall("```python", page.read_text())) == len(snippets(page)), page


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
