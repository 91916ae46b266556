"""A folder of images that does not fit into its share of the memory is the same data set."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nondet.data import loading
from nondet.data.digest import sha256_of
from nondet.data.image_folder import DEFAULT_MEMORY, MEMORY_VARIABLE, memory_bound
from nondet.data.lazy_images import ImageReader, LazyImages
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Seeds
from nondet.training import loop
from nondet.training.evaluation import predict
from nondet.training.images import ImageTraining

NUMBERS = np.random.default_rng(4)
SIDE = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for part, count in (("train", 24), ("test", 9)):
        for name, brightness in (("ant", 90), ("bee", 250)):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = NUMBERS.integers(0, brightness, (14 + i % 3, 15, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i:03}.png")
    return root


def load(folder, monkeypatch, memory):
    monkeypatch.setattr(loading, "_loaded", {})
    monkeypatch.setenv(MEMORY_VARIABLE, memory)
    return loading.load_dataset(f"imagefolder:{folder}@{SIDE}")


@pytest.fixture
def both(folder, monkeypatch):
    """The data set in memory, and in files."""
    return load(folder, monkeypatch, ""), load(folder, monkeypatch, "0")


def test_what_fits_is_in_memory_and_what_does_not_is_in_files(both):
    whole, lazy = both
    assert isinstance(whole.train_images, torch.Tensor)
    assert isinstance(lazy.train_images, LazyImages)
    assert isinstance(lazy.test_images, LazyImages)


def test_both_are_the_same_data(both):
    whole, lazy = both
    for name in ("mean", "std", "train_labels", "test_labels"):
        assert torch.equal(getattr(whole, name), getattr(lazy, name))
    assert (whole.classes, whole.image_shape) == (lazy.classes, lazy.image_shape)
    for one, other in (
        (whole.train_images, lazy.train_images),
        (whole.test_images, lazy.test_images),
    ):
        assert (len(one), one.shape, one.dtype) == (len(other), other.shape, other.dtype)
        chosen = torch.tensor([5, 0, 5, len(one) - 1])
        assert torch.equal(one[chosen], other[chosen])
        assert torch.equal(one.index_select(0, chosen), other.index_select(0, chosen))
        assert torch.equal(one[3:11], other[3:11])
        for size in (1, 7, 1000):
            pairs = zip(one.split(size), other.split(size), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)


def test_digests_are_equal_whether_computed_in_one_pass_or_anew(both):
    whole, lazy = both
    assert lazy.sha256 == whole.sha256
    anew = replace(lazy)
    assert "_sha256" not in vars(anew)
    assert anew.sha256 == whole.sha256
    assert sha256_of("Dataset", lazy._contents()) == whole.sha256


def test_every_file_is_decoded_once_to_load_and_hash(folder, monkeypatch):
    decoded = []
    decode = ImageReader._decode
    monkeypatch.setattr(
        ImageReader, "_decode", lambda self, n: decoded.append(n) or decode(self, n)
    )
    lazy = load(folder, monkeypatch, "0")
    assert len(lazy.sha256) == 64
    assert sorted(decoded) == list(range(66))


CONFIG = {
    "dataset": "mine",
    "model": "hidden-conv",
    "epochs": 2,
    "batch_size": 10,
    "lr": 0.1,
    "warmup_epochs": 1,
    "flip": True,
}


@pytest.mark.parametrize("more", [{"crop_padding": 2}, {"resized_crop": True, "drop_last": False}])
def test_training_gives_the_same_bits(both, more):
    config = RunConfig(**CONFIG, **more)
    results = [loop.train(config, Seeds(init=3, shuffle=4, augment=5), data) for data in both]
    assert results[0].history == results[1].history
    assert results[0].logits.tobytes() == results[1].logits.tobytes()


def test_evaluation_and_statistics_read_from_files(both):
    config = RunConfig(**CONFIG)
    trainings = [ImageTraining(config, Seeds(), data) for data in both]
    one, other = (list(training.statistics_batches()) for training in trainings)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    logits = [predict(trainings[0].model, data, data.train_images) for data in both]
    assert logits[0].tobytes() == logits[1].tobytes()


def reader(count, kept):
    """A reader of made-up files of 12 bytes each, and the list of those that it has read."""
    seen = []

    def read(file):
        seen.append(file)
        return torch.full((1, 3, 4), file, dtype=torch.uint8)

    return ImageReader(range(count), read, 12 * kept + 11), seen


def test_the_images_used_last_stay_in_memory():
    found, seen = reader(10, kept=3)
    for number in (0, 1, 2, 0, 3, 0, 1, 3, 0):
        assert found[number].flatten().tolist() == [number] * 12
    # The first file is read once for its shape. 1 makes room for 3, and 2 for 1.
    assert seen == [0, 0, 1, 2, 3, 1]


@pytest.mark.parametrize("kept", [0, 1, 5, 100])
def test_memory_is_bounded(kept):
    found, _ = reader(10, kept)
    images = LazyImages(found, range(10))
    for _ in range(3):
        for part in images.split(4):
            assert part[:, 0, 0, 0].tolist()
            assert len(found._kept) <= kept
    assert len(pickle.loads(pickle.dumps(reader(3, 2)[0].__getstate__()["_digests"]))) == 0


def test_copies_and_other_devices_share_what_is_decoded():
    found, seen = reader(6, kept=6)
    images = LazyImages(found, range(2, 6))
    moved = images.to("cpu")
    assert torch.equal(images[:], moved[:])
    assert seen.count(3) == 1
    assert moved[torch.tensor([1])].flatten()[0] == 3


def test_a_file_that_changes_is_refused(folder, tmp_path, monkeypatch):
    lazy = load(folder, monkeypatch, "0")
    path = folder / "train" / "bee" / "000.png"
    before = path.read_bytes()
    try:
        Image.fromarray(NUMBERS.integers(0, 256, (14, 15, 3), np.uint8)).save(path)
        with pytest.raises(ValueError, match=r"bee/000.png has changed since it was first read"):
            lazy.train_images[:]
    finally:
        path.write_bytes(before)
    assert len(lazy.train_images[:]) == 48


def test_an_image_of_another_size_is_named(folder, monkeypatch):
    monkeypatch.setattr(loading, "_loaded", {})
    monkeypatch.setenv(MEMORY_VARIABLE, "0")
    with pytest.raises(ValueError, match=r"001.png is 15 x 15 pixels and .*000.png 15 x 14; scale"):
        loading.load_dataset(f"imagefolder:{folder}")


def test_constant_images_are_refused(tmp_path, monkeypatch):
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        Image.new("RGB", (4, 4), (7, 9, 8)).save(tmp_path / part / "a" / "1.png")
    monkeypatch.setenv(MEMORY_VARIABLE, "0")
    with pytest.raises(ValueError, match=r"every pixel of channel 0 of .* training images is 7"):
        loading.load_dataset(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize("text", ["-1", "2.5", "2 GiB", "1e3", "9" * 400])
def test_the_bound_is_a_whole_number_of_mebibytes(text, monkeypatch):
    monkeypatch.setenv(MEMORY_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{MEMORY_VARIABLE} is '{text[:5]}.*whole number of MiB"):
        memory_bound()
    monkeypatch.setenv(MEMORY_VARIABLE, "3")
    assert memory_bound() == 3 * 2**20
    monkeypatch.delenv(MEMORY_VARIABLE)
    assert memory_bound() == DEFAULT_MEMORY * 2**20
