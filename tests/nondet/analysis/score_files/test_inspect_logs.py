"""Scores from logs of inspect_ai."""

import json
import math
import zipfile

import numpy as np
import pytest

from factories.score_files import log, log_sample, write_log
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.reading import read_scores


def read(place, **options):
    return read_scores(str(place), ReadOptions(**options))


def message_of(place):
    try:
        read(place)
    except ValueError as error:
        return str(error)
    return ""


@pytest.fixture(params=["a.json", "a.eval"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_letters_and_numbers(path):
    values = ["C", "P", "I", "N", 1, 0.25, True, "yes", "0.5"]
    write_log(path, log([log_sample(i, match=value) for i, value in enumerate(values)]))
    (run,) = read(path).runs
    found = dict(
        zip(run.examples["arithmetic"].ids, run.examples["arithmetic"].scores, strict=True)
    )
    assert [found[str(i)] for i in range(9)] == [1, 0.5, 0, 0, 1, 0.25, 1, 1, 0.5]
    assert run.values["arithmetic"] == pytest.approx(5.25 / 9)
    assert run.label == f"{path.name}, epoch 1"


def test_epochs_are_runs(path):
    write_log(path, log([log_sample("x", epoch, match="CI"[epoch % 2]) for epoch in (1, 2, 3)]))
    runs = read(path).runs
    assert [run.values["arithmetic"] for run in runs] == [0.0, 1.0, 0.0]
    assert [run.label for run in runs] == [f"{path.name}, epoch {epoch}" for epoch in (1, 2, 3)]
    assert all(not run.keys for run in runs)  # equal epochs share nothing


def test_logs_of_other_tasks_and_more_runs(tmp_path):
    for name, task, value in (
        *(("1", "qa", 1), ("2", "math", 0), ("3", "qa", 0.5), ("4", "math", 0.25)),
    ):
        write_log(tmp_path / f"{name}.eval", log([log_sample(0, match=value)], task))
    assert [dict(run.values) for run in read(tmp_path).runs] == [
        {"qa": 1, "math": 0},
        {"qa": 0.5, "math": 0.25},
    ]


def test_scorers_are_chosen(path):
    write_log(path, log([log_sample(0, match="C", judge={"style": 3, "facts": 5})]))
    with pytest.raises(ValueError, match="'match', 'judge/style', 'judge/facts'; name one"):
        read(path)
    assert read(path, score="judge/facts").runs[0].values["arithmetic"] == 5


def test_samples_without_a_score(path):
    failed = {**log_sample(1), "scores": {}, "error": {"message": "timeout"}}
    unscored = log_sample(2, match=math.nan)
    write_log(path, log([log_sample(0, match="C"), failed, unscored]))
    scores = read(path)
    assert scores.runs[0].values["arithmetic"] == 1.0
    assert np.isnan(scores.runs[0].examples["arithmetic"].scores).sum() == 2
    assert scores.notes == (f"{path.name}, epoch 1: 2 of 3 samples have no score.",)


def test_logs_that_did_not_end_are_failed_runs(path):
    write_log(path, log([log_sample(0, match="C")], status="cancelled"))
    assert read(path).failed[0].failure == "the log ends with status 'cancelled'"
    write_log(path, log([], status="error"))
    assert read(path).failed[0].failure == "the log ends with status 'error'"


def test_clusters_are_metadata(path):
    write_log(path, log([log_sample(i, match="C") for i in (10, 20, 31)]))
    found = read(path, columns={"cluster": "topic"}).runs[0].examples["arithmetic"]
    assert sorted(found.clusters) == ["topic 0", "topic 0", "topic 1"]
    with pytest.raises(ValueError, match="sample 10: its metadata has no field 'no'"):
        read(path, columns={"cluster": "no"})


def test_version_1_has_one_score(path):
    old = {**log_sample(0), "score": {"value": "C"}}
    del old["scores"]
    write_log(path, log([old], version=1))
    assert read(path).runs[0].values["arithmetic"] == 1.0


def test_summaries_are_read_in_place_of_samples(tmp_path):
    path = write_log(tmp_path / "a.eval", log([log_sample(0, match="C")]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("summaries.json", json.dumps([log_sample(0, match="I")]))
    assert read(path).runs[0].values["arithmetic"] == 0.0


def test_archives_of_early_versions_and_unfinished_ones(tmp_path):
    record = log([])
    header = {name: record[name] for name in ("version", "eval", "plan")}
    path = tmp_path / "a.eval"
    for start, status in (("start.json", "success"), ("_journal/start.json", "started")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(start, json.dumps(header))
            archive.writestr("samples/0_epoch_1.json", json.dumps(log_sample(0, match="C")))
            if status == "success":
                archive.writestr("results.json", json.dumps({"status": status}))
        assert [run.failure is None for run in read(path).runs] == [status == "success"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (log([log_sample(0, match=1), log_sample(0, match=1)]), "sample 0: a second sample"),
        (log([{**log_sample(0), "scores": 7}]), "sample 0: scores are not an object"),
        (log([{**log_sample(0, match=1), "id": None}]), "sample None: it needs an id"),
        (log([{**log_sample(0, match=1), "epoch": "1"}]), "epoch is '1'"),
        (log([log_sample(0, match="1e400")]), "sample 0: the score '1e400' is beyond float64"),
        (log([log_sample(0, match=1e200)]), r"sample 0: the score is 1e\+200; scores must lie"),
        (log([log_sample(0, match=10**400)]), r"a\.json: .* beyond float64"),
        (log([], eval={}), "eval.task is missing"),
        ({"status": "success", "eval": {"task": "x"}}, "the log has no samples"),
        ({"status": "success", "eval": {"task": "x"}, "samples": 7}, "samples are not a list"),
    ],
)
def test_errors_name_file_and_sample(tmp_path, record, message):
    path = write_log(tmp_path / "a.json", record)
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_what_cannot_be_unpacked_is_named(tmp_path):
    path = write_log(tmp_path / "a.eval", log([log_sample(0, match="C")]))
    data = bytearray(path.read_bytes())
    for place in range(len(data) - 12):  # the method, in the local headers and in the directory
        for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            if data[place : place + 4] == mark:
                data[place + offset : place + offset + 2] = (93).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"header\.json: compressed with Zstandard"):
        read(path)


def test_cut_and_damaged_logs(path):
    write_log(path, log([log_sample(i, match="C") for i in range(3)]))
    data = path.read_bytes()
    for length in range(1, len(data) - 2, 23):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=path.name):
            read(path)
    for place in range(0, len(data), 11):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :])
        message = message_of(path)
        assert not message or path.name in message  # some changes do no harm
