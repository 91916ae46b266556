"""Names of data sets, models and views, known without importing torch."""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

TEXTS = ("pydoc", "penn-treebank")
DATASETS = (
    "digits",
    "mnist5k",
    "cifar10",
    "cifar100",
    "mnist",
    "fashion-mnist",
    "svhn",
    *TEXTS,
)
"""Data sets with a fixed name.

A folder of images is "imagefolder:PATH" or "imagefolder:PATH@SIZE" (`image_folder`). Other texts
are "pydoc@TYPES", "text:PATH" and "text:PATH@TYPES" (`text_source`).
"""

MINIMUM_VOCABULARY = 3
"""The smallest vocabulary: the end of a sentence, the unknown word, and one more word."""

MOST_PIXELS = 16_384
"""The largest side to which the images of a folder are scaled."""

MOST_TYPES = 10_000_000
"""The largest limit of a vocabulary."""

LANGUAGE_MODELS = ("qrnn",)
MODELS = (
    "linear",
    "hidden",
    "hidden-conv",
    "mnist",
    "resnet6",
    "resnet10",
    "resnet14",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "vgg11",
    "vgg13",
    "vgg16",
    "shufflenet-x0.5",
    "shufflenet-x1",
    *LANGUAGE_MODELS,
)
"""Models with a fixed name.

Residual networks have other widths too: "resnet14-w8" has 8 channels in its first stage.
"""

DEVICES = ("cpu", "cuda")

VIEWS = (
    "spread",
    "perplexity",
    "test-set",
    "predictions",
    "cka",
    "onset",
    "epochs",
    "divergence",
    "growth",
    "barrier",
    "ensembles",
    "components",
)
"""The parts of reports (`nondet.report.views`)."""

_WIDTHS = {name: 64 if name == "resnet18" else 16 for name in MODELS if name.startswith("resnet")}


def image_folder(name: str) -> tuple[str, int | None] | None:
    """Return the path and the size in "imagefolder:PATH@SIZE"; the size is None if not given.

    Returns None for any other data set. Raises ValueError if the path is missing or the size is 0.
    """
    kind, _, rest = name.partition(":")
    if kind != "imagefolder":
        return None
    path, sign, size = rest.rpartition("@")
    if not sign or not re.fullmatch("[0-9]+", size):
        path, size = rest, ""
    if not path or (size and not 1 <= _number(size) <= MOST_PIXELS):
        raise ValueError(
            f"dataset is {name!r}; a folder of images is imagefolder:PATH or imagefolder:PATH@SIZE "
            f"with a size of 1 to {MOST_PIXELS:,} pixels"
        )
    return path, int(size) if size else None


class TextSource(NamedTuple):
    """The origin of a text.

    Attributes:
        kind: One of TEXTS, or "text" for files of the user.
        path: The path of these files, else empty.
        vocabulary: The largest size of the vocabulary; None if not given.
    """

    kind: str
    path: str
    vocabulary: int | None


def text_source(name: str) -> TextSource | None:
    """Return the origin of a text, given its name; None for any other data set.

    In "text:PATH@TYPES" the last @ ends the path only if digits alone follow it.

    Raises ValueError if the path is missing, and if the size of the vocabulary is no number, is
    below MINIMUM_VOCABULARY, or is given for the Penn Treebank.
    """
    if not is_text(name):
        return None
    if name.startswith("text:"):
        kind, rest = "text", name.removeprefix("text:")
        path, sign, size = rest.rpartition("@")
        if not sign or not re.fullmatch("[0-9]+", size):
            path, sign, size = rest, "", ""
        if not path:
            raise ValueError(
                f"dataset is {name!r}; a text is text:PATH or text:PATH@TYPES, where PATH is a "
                "file, or a folder in Penn Treebank format"
            )
    else:
        path = ""
        kind, sign, size = name.partition("@")
        if sign and kind == "penn-treebank":
            raise ValueError(
                f"dataset is {name!r}; penn-treebank has the vocabulary of its files; "
                "text:PATH@TYPES limits that of a folder in its format"
            )
    if sign and not (
        re.fullmatch("[0-9]+", size) and MINIMUM_VOCABULARY <= _number(size) <= MOST_TYPES
    ):
        raise ValueError(
            f"dataset is {name!r}; what follows the @ is the size of the vocabulary, at least "
            f"{MINIMUM_VOCABULARY}, because <eos> and <unk> belong to it, and at most "
            f"{MOST_TYPES:,}"
        )
    return TextSource(kind, path, int(size) if size else None)


def is_text(name: str) -> bool:
    """Return True for the name of a text, valid or not; other names are of images."""
    return name.startswith("text:") or name.partition("@")[0] in TEXTS


def check_dataset(name: str) -> None:
    """Raise ValueError, with similar names, for a data set that does not exist."""
    if name in DATASETS or image_folder(name) is not None or text_source(name) is not None:
        return
    raise ValueError(
        f"dataset is {name!r}; {hint(name, DATASETS)}known data sets: {', '.join(DATASETS)}; a "
        f"folder of images, imagefolder:PATH or imagefolder:PATH@SIZE; pydoc@TYPES; and a text, "
        f"text:PATH or text:PATH@TYPES"
    )


def resnet_width(name: str) -> tuple[str, int] | None:
    """Return the name without its width ("resnet14") and the channels of the first stage.

    Returns None for a model that is no residual network. Raises ValueError for a width that is out
    of range.
    """
    base, sign, width = name.partition("-w")
    if base not in _WIDTHS or (sign and not re.fullmatch("[1-9][0-9]*", width)):
        return None
    usual = _WIDTHS[base]
    channels = _number(width) if sign else usual
    if not usual // 8 <= channels <= usual * 8:
        raise ValueError(
            f"model is {name!r}; the first stage of {base} can have {usual // 8} to {usual * 8} "
            f"channels, an eighth to eight times its {usual}"
        )
    return base, channels


def check_model(name: str) -> None:
    """Raise ValueError, with similar names, for a model that does not exist."""
    if name in MODELS or resnet_width(name) is not None:
        return
    raise ValueError(
        f"model is {name!r}; {hint(name, MODELS)}known models: {', '.join(MODELS)}; and residual "
        f"networks of other widths, as resnet14-w8 with 8 channels in its first stage"
    )


def is_language_model(name: str) -> bool:
    """Return True for a model that is trained on texts, False for one trained on images."""
    return name in LANGUAGE_MODELS


def _number(digits: str) -> int:
    """Return the number of a text of digits; 10**18 if it has more of them, which Python may refuse
    to read.
    """
    return int(digits) if len(digits) <= 18 else 10**18


def check_device(name: str) -> None:
    """Raise ValueError, with the one that is meant, for a device that is not in DEVICES."""
    if name not in DEVICES:
        is_gpu = isinstance(name, str) and name.lower().startswith(("gpu", "cuda", "nvidia"))
        meant = "did you mean cuda? known: cpu, cuda" if is_gpu else alternatives(name, DEVICES)
        raise ValueError(f"device is {name!r}; {meant}")


def check_view(name: str) -> None:
    """Raise ValueError, with similar names, for a part of reports that does not exist."""
    if name not in VIEWS:
        raise ValueError(f"view is {name!r}; {hint(name, VIEWS)}known views: {', '.join(VIEWS)}")


def hint(name: object, known: Iterable[str]) -> str:
    """Return "did you mean ...? " with the known names similar to a name, or an empty string.

    Case does not matter. If no whole name is similar, one is whose last part is: "language.window"
    to "windw". A value that is no string has no similar names.
    """
    if not isinstance(name, str):
        return ""
    whole = {each.lower(): each for each in known}
    parts = {each.rpartition(".")[2]: whole[each] for each in whole}
    for spelled in (whole, parts):
        close = difflib.get_close_matches(name.lower(), list(spelled), n=3)
        if close:
            return f"did you mean {' or '.join(spelled[each] for each in close)}? "
    return ""


def alternatives(name: object, known: Iterable[str]) -> str:
    """Return "did you mean ...? known: ..." for the end of an error about a wrong name."""
    names = list(known)
    return f"{hint(name, names)}known: {', '.join(names) or 'none'}"
