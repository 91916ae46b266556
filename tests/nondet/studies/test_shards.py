"""Test which runs of a study each shard has."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nondet.studies.catalog import STUDIES, find_study
from nondet.studies.shards import MOST, Shard

COUNTS = (1, 2, 3, 7, 16)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("study", ["quick", "table6", "fig2", "crossed", "table5"])
def test_every_run_is_in_one_shard_and_shards_are_equally_large(study, count):
    plan = find_study(study).plan()
    shards = [Shard(index, count).share(plan) for index in range(1, count + 1)]
    tasks = plan.tasks()
    assert {job: keeps for share in shards for job, keeps in share.items()} == tasks
    addresses = [{job.address for job in share} for share in shards]
    assert sum(map(len, addresses)) == len({job.address for job in tasks})
    for groups in (
        [Counter(["run"] * len(each)) for each in addresses],
        [Counter(job.config.model for job in share) for share in shards],
    ):
        for name in {name for group in groups for name in group}:
            numbers = [group[name] for group in groups]
            assert max(numbers) - min(numbers) <= 1, name


def test_the_runs_of_a_row_are_spread_over_the_shards():
    """So that shards take equally long, whatever a row's runs cost."""
    plan = find_study("table7").plan(runs=8)
    first = {}
    for config in plan.configs:
        for row in plan.rows_of(config):
            for job in plan.jobs(config, row):
                first.setdefault(job, (config.model, row.name))
    shards = [Shard(index, 4).share(plan) for index in range(1, 5)]
    for group, size in Counter(first.values()).items():
        numbers = [sum(first[job] == group for job in share) for share in shards]
        assert sum(numbers) == size
        assert max(numbers) - min(numbers) <= 1, group


def test_a_shard_is_the_same_whatever_the_data():
    plan = find_study("quick").plan()
    known = plan.with_data({"digits": "ab" * 32})
    for index in (1, 2, 3):
        share = {replace(job, data="") for job in Shard(index, 3).share(known)}
        assert share == Shard(index, 3).share(plan).keys()


def test_runs_that_two_rows_describe_differently_stay_together():
    """A held source's onset changes nothing: such jobs have one address."""
    for study in STUDIES.values():
        plan = study.plan()
        homes = {}
        for index in range(1, 6):
            for job in Shard(index, 5).share(plan):
                assert homes.setdefault(job.address, index) == index


def test_more_shards_than_runs_leave_some_empty():
    plan = find_study("quick").plan(models=("linear",), runs=2)
    runs = len(plan.tasks())
    sizes = [len(Shard(index, runs + 3).share(plan)) for index in range(1, runs + 4)]
    assert sizes == [1] * runs + [0] * 3


@settings(max_examples=50, deadline=None)
@given(st.integers(1, MOST).flatmap(lambda count: st.tuples(st.integers(1, count), st.just(count))))
def test_a_shard_is_read_as_it_is_written(pair):
    shard = Shard(*pair)
    assert Shard.parse(str(shard)) == shard


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "3/", "/3", "0/3", "4/3", "-1/3", "1/0", "3 / 16", "1.0/3", "1/3/5", "a/b"),
        *("9" * 400, f"1/{MOST + 1}", f"1/{'9' * 400}", "\N{ARABIC-INDIC DIGIT ONE}/3"),
    ],
)
def test_other_texts_are_refused_with_what_was_given(text):
    with pytest.raises(ValueError, match=r"^the shard is .*; it must be INDEX/COUNT") as hit:
        Shard.parse(text)
    assert text in str(hit.value)
