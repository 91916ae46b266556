"""README and docs: every Python snippet runs, and commands and numbers agree with what they speak
of.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "csrc" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda p: p.name)
def test_snippets_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for snippet in snippets(page):
        exec(compile(snippet, page.name, "exec"), namespace)


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
