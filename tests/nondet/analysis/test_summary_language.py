"""Test summaries of stored language models; their measures are made up."""

import csv
import warnings

import numpy as np
import pytest

import nondet
from factories.language import noisy_measures
from nondet.analysis.language_statistics import language_statistics
from nondet.analysis.summary import output_logits, predicted, summarize
from nondet.report.build import build
from nondet.report.render.table_csv import runs_csv
from nondet.store import Store
from nondet.studies.catalog import find_study
from nondet.training.result import EpochRecord, Result, TokenPredictions
from nondet_ext import DegenerateInputWarning

TOKENS = np.arange(30) % 7


def made_result(number):
    """Return a result of one epoch whose predictions depend on the number of the run."""
    entropy = 4.0 + number / 100
    predictions = TokenPredictions(
        np.full(30, -entropy), np.full(30, number % 7, np.int32), f"{number:064x}"
    )
    history = [EpochRecord(1, 0.1, 4.5, 0.25, entropy, f"{number:064x}", 4.2)]
    weights = {"weights": {"decoder.bias": np.full(3, number, np.float32)}}
    return Result(history, None, [], None, weights, predictions)


@pytest.fixture
def plan():
    return find_study("table4").plan(runs=5)


@pytest.fixture
def store(tmp_path, plan):
    """Return a store with all runs except those of one row, of which it has a single run."""
    made = Store(tmp_path / "table4")
    left_out = {job.address for job in plan.jobs(plan.configs[0], plan.rows[2])[1:]}
    with made.opened_for(plan):
        made.save_labels("pydoc", TOKENS)
        for number, job in enumerate(plan.tasks()):
            if job.address not in left_out:
                made.save(job, made_result(number), {"python": "3"}, 1.0, {"sha256": "ab12"})
    return made


@pytest.fixture
def measured(monkeypatch):
    """Replace the measurement of models by made-up measures; return the list of its calls."""
    asked = []

    def stored_measures(store, runs, labels):
        asked.append((store, runs, labels))
        warnings.warn("logits that do not vary", DegenerateInputWarning, stacklevel=1)
        return noisy_measures(len(runs), 1.0 if runs[0].job.repeat == 0 else 0.0, len(asked))

    monkeypatch.setattr("nondet.analysis.summary.stored_measures", stored_measures)
    return asked


def test_rows_of_language_models_are_measured_from_their_runs(plan, store, measured):
    [model] = summarize(plan, store).models
    names = ["control", "initialization", "both", "one bit"]
    assert [row.row.name for row in model.rows if row.language is not None] == names
    assert [len(runs) for _, runs, _ in measured] == [2, 5, 5, 5]
    for number, (name, (asked, runs, labels)) in enumerate(zip(names, measured, strict=True), 1):
        row = model.named(name)
        assert asked is store
        assert runs == row.runs
        assert [run.job for run in runs] == plan.jobs(model.config, row.row)
        assert (labels == TOKENS).all()
        assert all("decoder.bias" in run.records["weights"] for run in runs)
        expected = noisy_measures(len(runs), 1.0, number)
        assert (row.language.perplexities == expected.perplexities).all()
        assert (row.language.measures.correlation == expected.correlation).all()
    assert {row.statistics for row in model.rows} == {None}
    single = model.named("stochastic operations")
    assert (len(single.runs), single.planned, single.language) == (1, 5, None)


def test_logits_of_language_models_are_not_kept(plan, store, measured):
    summary = summarize(plan, store)
    row = summary.models[0].named("both")
    assert row.logits is None
    run = row.runs[0]
    assert (predicted(run) == run.tokens.predicted).all()
    with pytest.raises(
        ValueError, match=f"run {run.job.address} is a language model, whose logits are not kept"
    ):
        output_logits(run, "final")


def test_numbers_of_a_report_in_python(plan, store, measured):
    results = nondet.load(store.root)
    table = results.table.set_index("row")
    found = language_statistics(noisy_measures(5, 1.0, 3))
    line = table.loc["both"]
    assert line["perplexity_mean"] == found.perplexity_mean
    assert (line["perplexity_sd"], line["perplexity_error"]) == found.perplexity
    for name, value in (
        ("disagreement", found.disagreement),
        ("ensemble_perplexity", found.ensemble_perplexity),
        ("cka_layer2", found.cka["layer2"]),
    ):
        assert (line[name], line[f"{name}_low"], line[f"{name}_high"]) == value
    assert np.isnan(table.loc["stochastic operations", "perplexity_sd"])
    assert "accuracy_mean" not in table
    assert (results.labels("qrnn") == TOKENS).all()
    with pytest.raises(ValueError, match="is a language model, whose logits are not kept"):
        results.logits("qrnn", "both")


def test_report_of_a_store(plan, store, measured):
    summary = summarize(plan, store)
    document = build(summary)
    [section] = document.sections
    assert section.findings[0].startswith("The control is NOT exact")
    assert ("dataset.sha256", "ab12") in document.environment
    assert document.notes == (
        "Incomplete: 18 of 22 runs. The command that began the study finishes it.",
    )
    assert [table.name for table in section.tables] == [
        "perplexity",
        "perplexity-intervals",
        "perplexity-relative",
        "perplexity-cka",
    ]
    first, *others = csv.DictReader(runs_csv(summary).splitlines())
    assert len(others) == 17
    assert (first["row"], first["accuracy"], first["cross_entropy"]) == ("control", "0.25", "4.0")
    assert first["predictions_sha256"] == "0" * 64
