"""Tests of durations and sizes in words."""

import pytest

from nondet.units import duration, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (8, "8 s"),
        (1.52, "1.5 s"),
        (9.96, "10 s"),
        (59, "59 s"),
        (59.2, "1 min"),
        (200, "3 min 20 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_seconds_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (2_500_000, "2.5 MB"),
        (999_600_000, "1.0 GB"),
        (3 * 10**13, "30.0 TB"),
    ],
)
def test_bytes_in_words(count, words):
    assert size(count) == words
