"""The names a user can ask for, known without importing torch; a test checks the registries."""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

TEXTS = ("pydoc", "penn-treebank")
DATASETS = ("digits", "cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", *TEXTS)
"""Beside these, any folder of images: "imagefolder:PATH" or "imagefolder:PATH@SIZE"; see
`image_folder`. And "pydoc@TYPES" and any text: "text:PATH" or "text:PATH@TYPES"; see `text_source`.
"""

LEAST_TYPES = 3
"""Of a text: a word beside the end of a sentence and the unknown word."""

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
"""Beside these, a residual network of another width: "resnet14-w8" has 8 channels in its first
stage.
"""

VIEWS = (
    "spread",
    "perplexity",
    "test-set",
    "cka",
    "onset",
    "epochs",
    "divergence",
    "growth",
    "barrier",
    "ensembles",
    "components",
)
"""The parts of reports; see nondet.report.views."""

_WIDTHS = {name: 64 if name == "resnet18" else 16 for name in MODELS if name.startswith("resnet")}


def image_folder(name: str) -> tuple[str, int | None] | None:
    """The path and the size, None where not given, that follow "imagefolder:"; None for any other
    data set. Raises ValueError if no path follows, or the size is 0.
    """
    kind, _, rest = name.partition(":")
    if kind != "imagefolder":
        return None
    path, sign, size = rest.rpartition("@")
    if not sign or not re.fullmatch("[0-9]+", size):
        path, size = rest, ""
    if not path or (size and int(size) == 0):
        raise ValueError(
            f"dataset is {name!r}; a folder of images is imagefolder:PATH or imagefolder:PATH@SIZE "
            f"with a size of at least 1 pixel"
        )
    return path, int(size) if size else None


class TextSource(NamedTuple):
    """Where a text comes from. kind: one of TEXTS, or "text". path: of a "text", else empty. types:
    how many word types it is cut to; None where not given.
    """

    kind: str
    path: str
    types: int | None


def text_source(name: str) -> TextSource | None:
    """What the name of a text says; None for any other data set. In "text:PATH@TYPES" the types are
    what follows the last @ if that is digits, else it belongs to the path.

    Raises ValueError if no path follows "text:", and for a number of types that is none, below
    LEAST_TYPES or for the Penn Treebank.
    """
    if not is_text(name):
        return None
    if name.startswith("text:"):
        kind, rest = "text", name.removeprefix("text:")
        path, sign, types = rest.rpartition("@")
        if not sign or not re.fullmatch("[0-9]+", types):
            path, sign, types = rest, "", ""
        if not path:
            raise ValueError(
                f"dataset is {name!r}; a text is text:PATH or text:PATH@TYPES, where PATH is a "
                "file, or a folder in Penn Treebank format"
            )
    else:
        path = ""
        kind, sign, types = name.partition("@")
        if sign and kind == "penn-treebank":
            raise ValueError(
                f"dataset is {name!r}; penn-treebank has the types of its files; text:PATH@TYPES "
                "cuts a folder in its format to fewer"
            )
    if sign and not (re.fullmatch("[0-9]+", types) and int(types) >= LEAST_TYPES):
        raise ValueError(
            f"dataset is {name!r}; what follows the @ is the number of word types, at least "
            f"{LEAST_TYPES}, as two of them are <eos> and <unk>"
        )
    return TextSource(kind, path, int(types) if types else None)


def is_text(name: str) -> bool:
    """Whether the name is one of a text; it may still be a wrong one."""
    return name.startswith("text:") or name.partition("@")[0] in TEXTS


def check_dataset(name: str) -> None:
    """Raises ValueError, with the names that come close, for a data set that does not exist."""
    if name in DATASETS or image_folder(name) is not None or text_source(name) is not None:
        return
    raise ValueError(
        f"dataset is {name!r}; {hint(name, DATASETS)}known data sets: {', '.join(DATASETS)}; a "
        f"folder of images, imagefolder:PATH or imagefolder:PATH@SIZE; pydoc@TYPES; and a text, "
        f"text:PATH or text:PATH@TYPES"
    )


def resnet_width(name: str) -> tuple[str, int] | None:
    """The depth as a name ("resnet14") and the channels of the first stage of a residual network;
    None for any other model. Raises ValueError for a width out of range.
    """
    base, sign, width = name.partition("-w")
    if base not in _WIDTHS or (sign and not re.fullmatch("[1-9][0-9]*", width)):
        return None
    usual = _WIDTHS[base]
    channels = int(width) if sign else usual
    if not usual // 8 <= channels <= usual * 8:
        raise ValueError(
            f"model is {name!r}; the first stage of {base} can have {usual // 8} to {usual * 8} "
            f"channels, an eighth to eight times its {usual}"
        )
    return base, channels


def check_model(name: str) -> None:
    """Raises ValueError, with the names that come close, for a model that does not exist."""
    if name in MODELS or resnet_width(name) is not None:
        return
    raise ValueError(
        f"model is {name!r}; {hint(name, MODELS)}known models: {', '.join(MODELS)}; and residual "
        f"networks of other widths, as resnet14-w8 with 8 channels in its first stage"
    )


def is_language_model(name: str) -> bool:
    """Whether a model is trained on a text; any other is trained on images."""
    return name in LANGUAGE_MODELS


def check_view(name: str) -> None:
    """Raises ValueError for a part of reports that does not exist."""
    if name not in VIEWS:
        raise ValueError(f"view is {name!r}; {hint(name, VIEWS)}known views: {', '.join(VIEWS)}")


def hint(name: str, known: Iterable[str]) -> str:
    """The known names that come close to an unknown one, as a question and a space; empty if none
    does.
    """
    close = difflib.get_close_matches(name.lower(), list(known), n=3)
    return f"did you mean {' or '.join(close)}? " if close else ""
