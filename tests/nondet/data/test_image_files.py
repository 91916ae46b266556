"""Tests of image files: their depth, their orientation, and files that are damaged."""

import io
import re
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from factories.image_files import CHANNELS, GREY, write_deep_png, write_large_png
from nondet.data.image_files import FORMATS, mode_of, read_pixels
from nondet_ext import philox_randint

Image.init()
NUMBERS = np.random.default_rng(8)
EXTENSIONS = (".bmp", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".webp")
TURNED = (".jpg", ".png", ".tif", ".webp")
ORIENTATION = 0x0112


def draw(*shape):
    return NUMBERS.integers(0, 256, shape, np.uint8)


def look(path):
    """Read a file as a data set does."""
    mode_of(path)
    return read_pixels(path, "RGB", None)


@pytest.mark.parametrize("colour", CHANNELS)
def test_pngs_of_16_bits_are_refused(colour, tmp_path):
    path = tmp_path / "deep.png"
    pixels = np.random.default_rng(1).integers(0, 200, (4, 5, CHANNELS[colour]))
    write_deep_png(path, pixels, colour)
    if colour != GREY:  # what Pillow makes of them without a word
        assert not np.array(Image.open(path).convert("RGB")).any()
    with pytest.raises(ValueError, match=r"deep\.png holds .*only 8"):
        mode_of(path)


@pytest.mark.parametrize(
    "data",
    [
        b"P6 2 2 1023\n" + bytes(24),
        b"P6 2 2 65535\n" + bytes(24),
        b"P5 2 2 65535\n" + bytes(8),
        b"P3 1 1 256\n 3 4 256\n",
    ],
)
def test_ppms_of_more_than_8_bits_are_refused(data, tmp_path):
    (tmp_path / "deep.ppm").write_bytes(data)
    with pytest.raises(ValueError, match=r"deep\.ppm holds "):
        mode_of(tmp_path / "deep.ppm")


@pytest.mark.parametrize("raw", ["I;16", "RGB;16B"])
def test_tiffs_of_16_bits_are_refused(raw, tmp_path):
    path = tmp_path / "deep.tif"
    if raw == "I;16":
        Image.fromarray(draw(4, 5).astype(np.uint16)).save(path)
    else:
        # Pillow writes none in colour: an image of 8 bits, whose tag then says 16.
        out = io.BytesIO()
        Image.fromarray(draw(4, 4, 3)).save(out, "TIFF")
        data = out.getvalue()
        assert data.count(b"\x08\x00\x08\x00\x08\x00") == 1
        path.write_bytes(data.replace(b"\x08\x00\x08\x00\x08\x00", b"\x10\x00\x10\x00\x10\x00"))
    with pytest.raises(ValueError, match=r"deep\.tif holds "):
        mode_of(path)


def test_images_of_8_bits_and_less_are_read(tmp_path):
    pixels = draw(4, 5, 3)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        Image.fromarray(pixels).convert(mode).save(tmp_path / "x.png")
        assert mode_of(tmp_path / "x.png") == mode
    (tmp_path / "x.ppm").write_bytes(b"P6 1 1 100\n\x32\x64\x00")
    assert look(tmp_path / "x.ppm").flatten().tolist() == [128, 255, 0]


@pytest.mark.parametrize("extension", TURNED)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_once(extension, orientation, tmp_path):
    """Orientation as in the EXIF standard: the sides at which row 0 and column 0 are seen."""
    path = tmp_path / f"turned{extension}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}
    upright = np.kron(draw(3, 2, 3), np.ones((16, 16, 1), np.uint8))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    Image.fromarray(np.ascontiguousarray(stored)).save(
        path, exif=exif, **options.get(extension, {})
    )
    found = look(path).permute(1, 2, 0).numpy().astype(int)
    assert found.shape == upright.shape
    assert abs(found - upright).max() <= (40 if extension == ".jpg" else 0)


def test_orientation_comes_before_scaling(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.fromarray(draw(20, 30, 3))
    image.save(tmp_path / "a.png", exif=exif)
    ImageOps.exif_transpose(Image.open(tmp_path / "a.png")).save(tmp_path / "b.png")
    found, expected = (read_pixels(tmp_path / name, "RGB", 8) for name in ("a.png", "b.png"))
    np.testing.assert_array_equal(found, expected)


def test_damaged_exif_data_are_a_warning(tmp_path):
    path = tmp_path / "odd.png"
    pixels = draw(4, 5, 3)
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0MM no directory")
    with pytest.warns(UserWarning, match=r"odd\.png: its EXIF orientation cannot be read"):
        found = look(path)
    np.testing.assert_array_equal(found.permute(1, 2, 0), pixels)


def test_an_image_of_400_megapixels_is_refused(tmp_path):
    write_large_png(tmp_path / "huge.png", 20_000)
    with pytest.raises(ValueError, match=r"huge.png cannot be read as an image: .*400000000 pix"):
        mode_of(tmp_path / "huge.png")


def test_an_image_of_100_megapixels_is_read_without_a_warning(tmp_path):
    write_large_png(tmp_path / "large.png", 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mode_of(tmp_path / "large.png") == "L"


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (60_000, 60_000)])
@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_wrong_sizes_are_errors_with_the_name_of_the_file(kind, size, tmp_path):
    path = tmp_path / "wrong"
    out = io.BytesIO()
    Image.fromarray(draw(7, 5)).save(out, kind)
    data = bytearray(out.getvalue())
    if kind == "BMP":
        for place, number in zip((18, 22), size, strict=True):
            data[place : place + 4] = number.to_bytes(4, "little")
    else:
        entries = bytes(data)
        for tag, number in zip((256, 257), size, strict=True):
            place = entries.index(tag.to_bytes(2, "little") + b"\x04\x00" + b"\x01\x00\x00\x00")
            data[place + 8 : place + 12] = number.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} cannot be read as an image"):
        look(path)


def test_a_warning_of_pillow_names_the_file(tmp_path):
    path = tmp_path / "odd.png"
    image = Image.fromarray(draw(4, 4)).convert("P")
    image.save(path, transparency=bytes(range(256)))
    with pytest.warns(UserWarning, match=r"odd.png: Palette images with Transparency"):
        read_pixels(path, "L", None)


def test_scripts_are_no_images(tmp_path):
    path = tmp_path / "page.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with Image.open(path) as image:
        assert image.format == "EPS"
    with pytest.raises(ValueError, match=r"page\.png cannot be read as an image"):
        mode_of(path)


def samples():
    """Return files of every format that Pillow writes here, by format and mode."""
    found = {}
    for kind in sorted(Image.SAVE):
        for mode in ("L", "RGB", "P"):
            out = io.BytesIO()
            try:
                Image.fromarray(draw(12, 11, 3)).convert(mode).save(out, kind)
            except Exception:  # the format lacks the mode, or this machine a library
                continue
            found[kind, mode] = out.getvalue()
    return found


def refusal(path):
    """Return the ValueError of a file that cannot be read, as text."""
    try:
        look(path)
    except ValueError as error:
        return str(error)
    return None


def test_every_damage_is_an_error_with_the_name_of_the_file(tmp_path):
    """Cut and altered files of all formats are read, or refused by name; nothing else is raised."""
    files = samples()
    assert {kind for kind, _ in files} >= {*FORMATS}
    path, refused = tmp_path / "damaged.png", 0
    for number, data in enumerate(files.values()):
        places = philox_randint(0, len(data), (40,), seed=9, counter=(number,)).tolist()
        values = philox_randint(0, 256, (40,), seed=9, counter=(number, 1)).tolist()
        damaged = [data[:place] for place in places[:15]]
        for place, value in zip(places[15:], values[15:], strict=True):
            place %= min(len(data), 100)  # most errors are in the head
            damaged.append(data[:place] + bytes([value]) + data[place + 1 :])
        for each in damaged:
            path.write_bytes(each)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                problem = refusal(path)
            if problem is not None:
                assert problem.startswith(f"{path} ")
                refused += 1
    assert refused > 100


@pytest.mark.parametrize("kind", ["EPS", "PCX", "SGI", "TGA", "ICO", "DDS"])
def test_other_formats_are_refused_whatever_the_extension(kind, tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(file, kind)
    with Image.open(file) as image:
        assert image.format == kind
    for read in (mode_of, lambda file: read_pixels(file, "RGB", None)):
        with pytest.raises(ValueError, match=f"^{re.escape(str(file))} cannot be read as an image"):
            read(file)
