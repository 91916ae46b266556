"""Tests of the published data sets, with small files in their real formats."""

import hashlib
import sys
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets

from factories import data_files
from nondet.data import load_dataset

# Name, writer, torchvision's reader, image shape, classes.
CASES = {
    "cifar10": (data_files.write_cifar10, datasets.CIFAR10, (3, 32, 32), 10),
    "cifar100": (data_files.write_cifar100, datasets.CIFAR100, (3, 32, 32), 100),
    "mnist": (data_files.write_mnist, datasets.MNIST, (1, 28, 28), 10),
    "fashion-mnist": (data_files.write_fashion_mnist, datasets.FashionMNIST, (1, 28, 28), 10),
    "svhn": (data_files.write_svhn, datasets.SVHN, (3, 32, 32), 10),
}


def parts(shape, classes):
    """Return (images, labels) for training and test; no axes and no channels are alike."""
    numbers = np.random.default_rng(8)
    pairs = []
    for examples in (23, 9):
        images = numbers.integers(0, 256, (examples, *shape), np.uint8)
        pairs.append((images, numbers.permutation(np.arange(examples) * 3 % classes)))
    return pairs


def accept_sums_of(reader, root, monkeypatch):
    """Let torchvision check the MD5 sums of the files in `root`, not of the published ones."""

    def md5(*path):
        return hashlib.md5(root.joinpath(*path).read_bytes(), usedforsecurity=False).hexdigest()

    if reader is datasets.SVHN:
        listed = {
            part: [url, file, md5(file)]
            for part, (url, file, _) in reader.split_list.items()
            if part != "extra"
        }
        monkeypatch.setattr(reader, "split_list", listed)
    elif issubclass(reader, datasets.CIFAR10):
        for which in ("train_list", "test_list"):
            listed = [[file, md5(reader.base_folder, file)] for file, _ in getattr(reader, which)]
            monkeypatch.setattr(reader, which, listed)
        meta = reader.meta | {"md5": md5(reader.base_folder, reader.meta["filename"])}
        monkeypatch.setattr(reader, "meta", meta)


@pytest.fixture(params=CASES)
def written(request, tmp_path, monkeypatch):
    """The name and the parts of a data set that is written to tmp_path."""
    write, reader, shape, classes = CASES[request.param]
    train, test = parts(shape, classes)
    write(tmp_path, train, test)
    accept_sums_of(reader, tmp_path, monkeypatch)
    return request.param, train, test


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise URLError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_files_are_read_as_published(written, tmp_path):
    name, train, test = written
    dataset = load_dataset(name, root=tmp_path)
    assert (dataset.name, dataset.classes) == (name, CASES[name][3])
    for images, labels, (pixels, classes) in (
        (dataset.train_images, dataset.train_labels, train),
        (dataset.test_images, dataset.test_labels, test),
    ):
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert images.is_contiguous()
        np.testing.assert_array_equal(images, pixels)
        np.testing.assert_array_equal(labels, classes)
    stored = train[0].astype(np.float64)
    np.testing.assert_array_equal(dataset.mean, stored.mean((0, 2, 3)).astype(np.float32))
    np.testing.assert_array_equal(dataset.std, stored.std((0, 2, 3)).astype(np.float32))
    assert load_dataset(name, root=str(tmp_path), download=True) is dataset


def test_old_pickles_bring_no_warning(tmp_path, monkeypatch):
    # NumPy 2.4.0 to 2.4.4 warn of the flags (0, 1) of the published files; later ones of (0, 0).
    monkeypatch.setattr(data_files._Python2Pickler, "dtype_flags", (0, 0))
    train, test = parts((3, 32, 32), 100)
    data_files.write_cifar100(tmp_path, train, test)
    accept_sums_of(datasets.CIFAR100, tmp_path, monkeypatch)
    np.testing.assert_array_equal(load_dataset("cifar100", tmp_path).test_images, test[0])


def test_nothing_is_fetched_over_files_that_are_there(written, tmp_path):
    name, train, _ = written
    dataset = load_dataset(name, root=tmp_path, download=True)
    np.testing.assert_array_equal(dataset.train_images, train[0])


@pytest.mark.parametrize("name", CASES)
def test_missing_files_are_named_with_both_ways_out(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(name, root=tmp_path / "none")
    message = str(caught.value)
    assert f"{name} is not in {tmp_path / 'none'}: no " in message
    assert f"add --download (from Python: load_dataset({name!r}, download=True))" in message
    assert "put these files there" in message
    assert not (tmp_path / "none").exists()


def test_only_the_missing_files_are_named(written, tmp_path):
    name, _, _ = written
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    files[0].unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(name, root=tmp_path)
    message = str(caught.value)
    assert files[0].relative_to(tmp_path).as_posix() in message
    assert files[1].relative_to(tmp_path).as_posix() not in message


def test_damaged_files_are_refused(written, tmp_path):
    name, _, _ = written
    path = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"{name} cannot be read from .* files is damaged: .*"):
        load_dataset(name, root=tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_a_download_that_fails_says_what_could_be_put_there(name, tmp_path, capfd):
    with pytest.raises(OSError, match=f"{name} could not be downloaded to .* by hand: .*"):
        load_dataset(name, root=tmp_path, download=True)


def test_a_download_is_read(tmp_path, monkeypatch):
    train, test = parts((3, 32, 32), 10)

    def download(self):
        data_files.write_cifar10(tmp_path / "new", train, test)
        accept_sums_of(datasets.CIFAR10, tmp_path / "new", monkeypatch)

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    dataset = load_dataset("cifar10", root=tmp_path / "new", download=True)
    np.testing.assert_array_equal(dataset.test_images, test[0])


def test_the_folder_comes_from_the_environment(tmp_path, monkeypatch):
    train, test = parts((1, 28, 28), 10)
    data_files.write_mnist(tmp_path / "set", train, test)
    monkeypatch.setenv("NONDET_DATA", str(tmp_path / "set"))
    np.testing.assert_array_equal(load_dataset("mnist").train_images, train[0])

    monkeypatch.delenv("NONDET_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/.cache/nondet/data"):
        load_dataset("mnist")


def test_without_torchvision_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for name in ("svhn", f"imagefolder:{tmp_path}"):
        with pytest.raises(ImportError, match=r"needs torchvision: pip install 'nondet\[vision\]'"):
            load_dataset(name, root=tmp_path)
    assert load_dataset("digits").classes == 10
