"""Tests of folders of images that are written with Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from nondet.data import load_dataset, loading

NUMBERS = np.random.default_rng(21)


def draw(*shape):
    return NUMBERS.integers(0, 256, shape, np.uint8)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return pixels


@pytest.fixture
def coloured(tmp_path):
    """Two classes of 6 x 9 RGB images: 2 and 1 training images, 1 and 1 test images."""
    files = ("train/ant/2.png", "train/ant/1.png", "train/bee/1.bmp", "test/bee/7.png")
    pixels = {file: save(tmp_path / file, draw(6, 9, 3)) for file in files}
    return pixels | {"test/ant/9.png": save(tmp_path / "test/ant/9.png", draw(6, 9, 3))}


def test_classes_and_images_follow_their_names(coloured, tmp_path):
    (tmp_path / "train/ant/notes.txt").write_text("no image")
    dataset = load_dataset(f"imagefolder:{tmp_path}")
    assert (dataset.classes, dataset.image_shape) == (2, (3, 6, 9))
    assert dataset.train_labels.tolist() == [0, 0, 1]
    assert dataset.test_labels.tolist() == [0, 1]
    for images, files in (
        (dataset.train_images, ("train/ant/1.png", "train/ant/2.png", "train/bee/1.bmp")),
        (dataset.test_images, ("test/ant/9.png", "test/bee/7.png")),
    ):
        expected = np.stack([coloured[file] for file in files]).transpose(0, 3, 1, 2)
        assert images.dtype == torch.uint8
        np.testing.assert_array_equal(images, expected)


def test_val_stands_in_for_test(coloured, tmp_path):
    (tmp_path / "test").rename(tmp_path / "val")
    dataset = load_dataset(f"imagefolder:{tmp_path}")
    pixels = coloured["test/ant/9.png"].transpose(2, 0, 1)
    np.testing.assert_array_equal(dataset.test_images[0], pixels)


def test_grey_images_keep_one_channel_unless_one_has_colour(tmp_path):
    grey = [save(tmp_path / part / "a" / "1.png", draw(4, 5)) for part in ("train", "test")]
    dataset = load_dataset(f"imagefolder:{tmp_path}")
    assert dataset.image_shape == (1, 4, 5)
    np.testing.assert_array_equal(dataset.test_images[0, 0], grey[1])

    (tmp_path / "more").mkdir()
    for part in ("train", "test"):
        (tmp_path / part).rename(tmp_path / "more" / part)
    save(tmp_path / "more" / "train" / "a" / "2.png", draw(4, 5, 3))
    dataset = load_dataset(f"imagefolder:{tmp_path / 'more'}")
    assert dataset.image_shape == (3, 4, 5)
    np.testing.assert_array_equal(dataset.test_images[0], np.stack([grey[1]] * 3))


def test_transparency_is_dropped(tmp_path):
    pixels = [save(tmp_path / part / "a" / "1.png", draw(3, 3, 4)) for part in ("train", "test")]
    dataset = load_dataset(f"imagefolder:{tmp_path}")
    np.testing.assert_array_equal(dataset.train_images[0], pixels[0][..., :3].transpose(2, 0, 1))


def test_images_are_scaled_and_cropped_as_torchvision_does(tmp_path):
    files = ("train/a/1.png", "train/a/2.png", "test/a/1.png")
    sizes = ((20, 31, 3), (40, 17, 3), (8, 8, 3))
    pixels = [save(tmp_path / file, draw(*size)) for file, size in zip(files, sizes, strict=True)]
    dataset = load_dataset(f"imagefolder:{tmp_path}@12")
    reference = transforms.Compose([transforms.Resize(12), transforms.CenterCrop(12)])
    expected = [np.array(reference(Image.fromarray(image))).transpose(2, 0, 1) for image in pixels]
    np.testing.assert_array_equal(dataset.train_images, np.stack(expected[:2]))
    np.testing.assert_array_equal(dataset.test_images, expected[2][None])


def test_images_of_several_sizes_are_refused(coloured, tmp_path):
    save(tmp_path / "test/bee/8.png", draw(6, 10, 3))
    message = (
        "test/bee/8.png is 10 x 6 pixels and .*train/ant/1.png 9 x 6; scale them to one "
        "size, for example to 32 x 32 with imagefolder:PATH@32"
    )
    with pytest.raises(ValueError, match=message):
        load_dataset(f"imagefolder:{tmp_path}")


def test_hidden_files_and_folders_are_left_out(coloured, tmp_path):
    expected = load_dataset(f"imagefolder:{tmp_path}").sha256
    other = draw(6, 9, 3)
    for place in (
        "train/.ipynb_checkpoints/1-checkpoint.png",
        "test/.cache/x/1.png",
        "train/ant/.ipynb_checkpoints/1-checkpoint.png",
        "train/bee/.hidden.png",
    ):
        save(tmp_path / place, other)
    (tmp_path / "train/bee/._1.png").write_bytes(b"\0\5\x16\7")  # beside files copied by macOS
    loading._loaded.clear()
    found = load_dataset(f"imagefolder:{tmp_path}")
    assert (found.classes, found.sha256) == (2, expected)


def test_a_folder_of_hidden_folders_alone_has_no_classes(coloured, tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / "test" / name).rename(tmp_path / "test" / f".{name}")
    with pytest.raises(FileNotFoundError, match=r"/test: Couldn't find any class folder"):
        load_dataset(f"imagefolder:{tmp_path}")


def test_a_folder_inside_a_hidden_one_is_read(tmp_path):
    root = tmp_path / ".data"
    for part in ("train", "test"):
        save(root / part / "a" / "1.png", draw(4, 5))
    assert len(load_dataset(f"imagefolder:{root}").train_labels) == 1


def test_images_in_folders_inside_a_class_are_read(coloured, tmp_path):
    pixels = save(tmp_path / "train/ant/more/0.png", draw(6, 9, 3))
    dataset = load_dataset(f"imagefolder:{tmp_path}")
    assert dataset.train_labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(dataset.train_images[2], pixels.transpose(2, 0, 1))


def test_parts_with_other_classes_are_refused(coloured, tmp_path):
    save(tmp_path / "test/cat/1.png", draw(6, 9, 3))
    with pytest.raises(ValueError, match="only one of them has a folder cat"):
        load_dataset(f"imagefolder:{tmp_path}")


def test_missing_folders_and_empty_classes_are_named(coloured, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*/other/train; a folder of"):
        load_dataset(f"imagefolder:{tmp_path / 'other'}")
    (tmp_path / "test").rename(tmp_path / "tests")
    with pytest.raises(FileNotFoundError, match=r"no folder .*/test; .* train and test or val, "):
        load_dataset(f"imagefolder:{tmp_path}")
    (tmp_path / "train/bee/1.bmp").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"/train: Found no valid file .* bee.*Images end in .*\.png"
    ):
        load_dataset(f"imagefolder:{tmp_path}")


def test_files_that_are_no_image_or_too_deep_are_named(coloured, tmp_path):
    (tmp_path / "train/bee/5.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"train/bee/5.png cannot be read as an image"):
        load_dataset(f"imagefolder:{tmp_path}")
    whole = (tmp_path / "train/bee/1.bmp").read_bytes()
    (tmp_path / "train/bee/5.png").unlink()
    (tmp_path / "train/bee/1.bmp").write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"train/bee/1.bmp cannot be read as an image"):
        load_dataset(f"imagefolder:{tmp_path}")
    (tmp_path / "train/bee/1.bmp").unlink()
    save(tmp_path / "train/bee/1.png", draw(6, 9).astype(np.uint16))
    with pytest.raises(ValueError, match="'I;16'; only 8 bits per channel can be read"):
        load_dataset(f"imagefolder:{tmp_path}")
