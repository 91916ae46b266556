"""The digest of a data set changes with all that a training reads, and with nothing else."""

import copy
import os
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from nondet.data import Dataset, TextDataset, digest, load_dataset, loading, make_dataset, make_text
from nondet.data.digest import sha256_of

NUMBERS = np.random.default_rng(7)


@pytest.fixture
def images():
    pixels = torch.from_numpy(NUMBERS.integers(0, 256, (9, 3, 4, 5), np.uint8))
    labels = torch.arange(9) % 3
    return make_dataset("made", 3, pixels[:6], labels[:6], pixels[6:], labels[6:])


@pytest.fixture
def text():
    return make_text(
        "made", [["a", "b", "a", "c", "<eos>"], ["b", "<eos>"], ["c", "a", "<eos>"]], 9, {}
    )


@pytest.fixture
def hashed(monkeypatch):
    """The kinds of the data sets that are hashed, one for each time."""
    kinds = []

    def counted(kind, contents):
        kinds.append(kind)
        return sha256_of(kind, contents)

    monkeypatch.setattr(digest, "sha256_of", counted)
    return kinds


def changes_of(data):
    """Yield a copy of a data set for every single change that a training could read."""
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, torch.Tensor):
            for place in (0, -1):
                other = value.clone()
                other.view(-1).view(torch.uint8)[place] ^= 1
                yield replace(data, **{field.name: other})
            yield replace(data, **{field.name: value[:-1]})
            yield replace(data, **{field.name: value[None]})
            yield replace(data, **{field.name: value.double()})
    if isinstance(data, Dataset):
        yield replace(data, classes=data.classes + 1)
        for part in ("train", "test"):
            images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
            yield replace(data, **{f"{part}_images": images.flip(0)})
            yield replace(data, **{f"{part}_images": images.flatten(2)[..., None]})
            yield replace(data, **{f"{part}_labels": labels.flip(0)})
    else:
        first, second, *rest = data.types
        yield replace(data, types=(second, first, *rest))
        yield replace(data, types=(first + second, "", *rest))
        yield replace(data, types=(first, second, *rest, "more"))
        yield replace(data, train=torch.cat([data.train, data.valid[:1]]), valid=data.valid[1:])


@pytest.mark.parametrize("name", ["images", "text"])
def test_every_change_changes_the_digest(name, request):
    data = request.getfixturevalue(name)
    assert len(data.sha256) == 64
    assert set(data.sha256) <= set("0123456789abcdef")
    found = [data.sha256, *(other.sha256 for other in changes_of(data))]
    assert len(found) > 15
    assert len(set(found)) == len(found)


def test_parts_cannot_be_shifted_into_each_other():
    """Contents whose bytes are the same in a row, cut elsewhere."""
    bytes_of = torch.tensor([1, 2, 3, 4], dtype=torch.uint8)
    found = {
        sha256_of(kind, contents)
        for kind, contents in (
            ("k", {"a": bytes_of}),
            ("k", {"a": bytes_of[:2], "b": bytes_of[2:]}),
            ("k", {"a": bytes_of[:1], "b": bytes_of[1:]}),
            ("k", {"a": bytes_of.view(2, 2)}),
            ("k", {"a": bytes_of.view(torch.int32)}),
            ("k", {"a": bytes_of.view(torch.int8)}),
            ("k", {"a": ("bc",)}),
            ("k", {"a": ("b", "c")}),
            ("k", {"a": ("", "bc")}),
            ("k", {"ab": ("c",)}),
            ("k", {"a": ("b",), "c": ("d",)}),
            ("k", {"a": ("b", "c", "words", "d")}),
            ("ka", {"": ("bc",)}),
            ("k", {"a": 12}),
            ("k", {"a": ("12",)}),
            ("k", {"a": torch.tensor(1.0)}),
            ("k", {"a": torch.tensor([1.0])}),
            ("k", {"a": torch.empty(0, 2)}),
            ("k", {"a": torch.empty(2, 0)}),
            ("k", {}),
        )
    }
    assert len(found) == 20


def test_name_facts_layout_and_gradients_do_not_count(images, text):
    assert replace(images, name="other").sha256 == images.sha256
    assert replace(text, name="other", facts={"source": "x"}).sha256 == text.sha256
    strided = images.train_images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    every_second = torch.stack([images.test_labels, images.test_labels], 1)[:, 0]
    mean = images.mean.clone().requires_grad_()
    other = replace(images, train_images=strided, test_labels=every_second, mean=mean)
    assert not other.train_images.is_contiguous()
    assert other.sha256 == images.sha256
    one = torch.tensor([[3.5, 2.0]])[:, 0]
    assert one.stride() == (2,)
    assert sha256_of("k", {"a": one}) == sha256_of("k", {"a": torch.tensor([3.5])})


def test_odd_words_have_digests(text):
    assert replace(text, types=("\ud800", *text.types[1:])).sha256 != text.sha256


def test_it_is_the_same_in_every_process_and_version():
    """Changing the encoding makes all stored work that of other data: increase its number then."""
    known = Dataset(
        "known",
        2,
        torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2),
        torch.tensor([0, 1]),
        torch.zeros(1, 1, 2, 2, dtype=torch.uint8),
        torch.tensor([1]),
        torch.tensor([3.5]),
        torch.tensor([2.0]),
    )
    assert known.sha256 == "d4e39da6b81e6bcaaf88fdd012040170a6df6ea91387678fac3bdba38cf2444b"
    words = TextDataset("known", ("<eos>", "é"), *torch.tensor([[1, 0], [1, 0], [0, 0]]), {})
    assert words.sha256 == "4ea156759f57521afb0c23796e53d9cae7fd7d07f998fb81e290bdf16318aa86"


@pytest.mark.parametrize("name", ["images", "text"])
def test_a_loaded_data_set_is_hashed_once(name, request, hashed):
    data = request.getfixturevalue(name)
    moved = [data.to("cpu") for _ in range(3)]
    moved.append(moved[0].to("cpu"))
    assert {one.sha256 for one in (data, *moved)} == {data.sha256}
    assert hashed == [type(data).__name__]


def test_replaced_and_changed_tensors_get_a_new_digest(images, hashed):
    before = images.sha256
    moved = images.to("cpu")
    assert replace(moved, train_images=moved.train_images.clone()).sha256 == before
    images.train_images[2, 0, 1, 1] ^= 1
    after = images.sha256
    assert after != before
    # On the CPU the moved data set has the same tensors.
    assert moved.sha256 == after
    images.train_images[2, 0, 1, 1] ^= 1
    assert images.sha256 == before
    images.test_images.data = images.test_images.flip(0)
    assert images.sha256 != before
    other = copy.copy(images)
    object.__setattr__(other, "train_labels", images.train_labels.flip(0))
    assert other.sha256 != images.sha256
    found = images.sha256
    object.__setattr__(images, "train_labels", images.train_labels.flip(0))
    assert images.sha256 not in (found, before)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_do_not_keep_an_old_digest(images, copied):
    plain = pickle.dumps(images)
    before = images.sha256
    assert pickle.dumps(images) == plain
    images.train_images.add_(1)  # not asked for its digest since
    twin = copied(images)
    twin.train_images.sub_(1)
    assert twin.sha256 == before
    twin.train_images.add_(1)
    assert twin.sha256 != before


def test_tensors_whose_changes_torch_does_not_count(images):
    with torch.inference_mode():
        data = images.to("cpu")
        data = replace(data, train_images=data.train_images.clone())
        before = data.sha256
        data.train_images[0] ^= 1
        assert data.sha256 != before


def loaded_anew(name, monkeypatch):
    """Load a data set as a new process would."""
    monkeypatch.setattr(loading, "_loaded", {})
    return load_dataset(name)


def test_other_pictures_under_equal_names_sizes_and_times(tmp_path, monkeypatch):
    files = [tmp_path / part / name / "1.bmp" for part in ("train", "test") for name in "ab"]
    for file in files:
        file.parent.mkdir(parents=True)
        Image.fromarray(NUMBERS.integers(0, 256, (4, 4, 3), np.uint8)).save(file)
        os.utime(file, ns=(10**18, 10**18))
    before = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    found = loaded_anew(f"imagefolder:{tmp_path}", monkeypatch).sha256
    assert loaded_anew(f"imagefolder:{tmp_path}", monkeypatch).sha256 == found
    one, other = (file.read_bytes() for file in files[:2])
    for file, data in zip(files, (other, one), strict=False):
        file.write_bytes(data)
        os.utime(file, ns=(10**18, 10**18))
    assert [(file.stat().st_size, file.stat().st_mtime_ns) for file in files] == before
    # This process still trains on what it has in memory, and its digest says so.
    assert load_dataset(f"imagefolder:{tmp_path}").sha256 == found
    assert loaded_anew(f"imagefolder:{tmp_path}", monkeypatch).sha256 != found


def test_reordered_lines_of_a_text(tmp_path, monkeypatch):
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text("one two\ntwo three\nthree one\n")
    found = loaded_anew(f"text:{tmp_path}", monkeypatch)
    (tmp_path / "train.txt").write_text("two three\none two\nthree one\n")
    other = loaded_anew(f"text:{tmp_path}", monkeypatch)
    assert other.types == found.types
    assert other.sha256 != found.sha256
