"""The page of measured speeds: its tables and its figures, on made-up results."""

import re

import pytest

import performance
from factories.benchmarks import case, measured, results
from measured import Results, read, write
from nondet.report.render.drawing import render

PAGE = f"# Speed\n\n{performance.BEGIN}\nold\n{performance.END}\n\nAfter.\n"


def grown(**environment: object) -> Results:
    sizes = (10**6, 10**7, 10**8)
    cases = [
        case([2.0], name=f"sum {size}", family="sum, n", size=size, ours=1e-9 * size)
        for size in sizes
    ]
    cases[-1].contenders.append(measured("read", "ceiling", [0.5], ours=0.1, moved=4 * 10**8))
    cases += [
        case([count], name=f"threads {count}", family="next_up, threads", size=count)
        for count in (1, 2, 4, 8)
    ]
    return results(*cases, case([0.9], wanted=1.0, name="wanted case"), **environment)


def test_filling_replaces_what_is_between_the_marks():
    page = performance.fill(PAGE, "new \\1")
    assert page == PAGE.replace("old", "new \\1")
    assert performance.fill(page, "old") == PAGE


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="measured: begin"):
        performance.fill("# Speed\n", "new")


def test_the_table_holds_the_cases_with_a_wanted_ratio():
    text = performance.wanted_table(grown())
    assert "| wanted case | 10 | torch.sum | 0.90 |" in text
    assert "wanted 1.00: missed" in text
    assert "sum 1000000" not in text


def test_the_exponents_leave_out_threads():
    text = performance.exponents(grown())
    assert "| sum, n | torch.sum | 1,000,000 | 100,000,000 | 1.00 | 1.00 to 1.00 |" in text
    assert "next_up" not in text


def test_the_best_rate_is_that_of_a_ceiling_beyond_the_caches():
    assert performance.best_rate(grown()) == pytest.approx(4e8 / 0.05)
    small = case([1.0])
    small.contenders.append(measured("read", "ceiling", [0.5], moved=1000))
    assert performance.best_rate(results(small)) == 0


def test_every_family_has_a_figure_and_threads_have_one():
    figures = performance.figures([grown()])
    assert [figure.name for figure in figures] == ["performance-sum", "performance-threads"]


@pytest.mark.parametrize("processors", [1, 2])
def test_figures_show_ours_peers_and_the_limit_of_every_processor(processors):
    runs = [grown(processor=f"Processor {number}") for number in range(processors)]
    growth, threads = (render(figure).svg for figure in performance.figures(runs))
    names = ["sum", "torch.sum", "limit of the memory"]
    for number in range(processors):
        where = f" (Processor {number}, generic)" if processors > 1 else ""
        for name in names:
            assert f">{name}{where}<" in growth
        assert f">Processor {number}, generic<" in threads


def test_the_command_fills_the_page_and_draws_its_figures(tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    (docs / "figures").mkdir(parents=True)
    (docs / "performance.md").write_text(PAGE)
    monkeypatch.setattr(performance, "DOCS", docs)
    write(grown(), tmp_path / "a.json")
    performance.main([str(tmp_path / "a.json")])
    page = (docs / "performance.md").read_text()
    assert page.startswith("# Speed\n")
    assert page.endswith("\n\nAfter.\n")
    assert "[a.json](../a.json)" in page
    for name in re.findall(r"\]\((figures/[^)]+)\)", page):
        assert (docs / name).read_text().startswith("<?xml")
    before = {path: path.read_bytes() for path in docs.rglob("*.*")}
    performance.main([str(tmp_path / "a.json")])
    assert {path: path.read_bytes() for path in docs.rglob("*.*")} == before


def test_the_page_is_what_its_result_files_give():
    docs = performance.DOCS
    page = (docs / "performance.md").read_text()
    runs = {name: read(docs / name) for name in re.findall(r"\]\(([^)]+\.json)\)", page)}
    assert runs
    drawn = performance.figures(list(runs.values()))
    assert performance.fill(page, performance.measured_part(runs, drawn)) == page
    kept = {path.stem for path in (docs / "figures").glob("performance-*.svg")}
    assert kept == {figure.name for figure in drawn}


def test_the_command_wants_a_file():
    with pytest.raises(SystemExit, match="usage"):
        performance.main([])
