"""Hand-made reports: a small one with every kind of part and with special characters in names, and
one whose text a test chooses field by field.
"""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import get_args, get_origin, get_type_hints

import numpy as np

from nondet.report.colors import CYCLE
from nondet.report.document import Cell, Column, Document, Figure, Line, Section, Table

ODD = """<b>"a" & 'b'</b> | x_1 $5 100% #2 {~^\\} [c]"""

COLUMNS = (
    Column("row", "source varied", align="left"),
    Column("accuracy_sd_points", "accuracy SD", "pp"),
    Column("cross_entropy_sd_nats", "cross-entropy SD", "nats", bar=True),
    Column("disagreement_percent", "disagree", "%"),
    Column("spearman_correlation", "Spearman corr."),
    Column("ensemble_accuracy_change_points", "ensemble", "pp"),
    Column("ensemble_cross_entropy_change_nats", "ensemble", "nats"),
)


def line(group, name, accuracy, entropy, disagree, correlation, points, nats, **more):
    """Return a line of the table of spreads; `accuracy` and `entropy` are (text, value, error)."""
    cells = [Cell(name, name), Cell(*accuracy), Cell(*entropy)]
    cells += [Cell(text, float(text.replace(" ", ""))) for text in (disagree, correlation)]
    cells += [Cell(points, float(points)), Cell(nats, float(nats))]
    return Line(tuple(cells), group=group, **more)


EXACT = ("0", 0.0, 0.0)
SPREAD = Table(
    "spread",
    "Spread of test results",
    COLUMNS,
    (
        line("linear", "control", EXACT, EXACT, "0", "1", "0", "0", seeds="all 1, 10 repetitions"),
        line(
            "linear",
            "initialization",
            ("0.11 ± 0.01", 0.11331, 0.0102),
            ("1.7e-04 ± 3e-05", 0.000171234, 0.0000312),
            "0.17",
            "0.9992",
            "+0.03",
            "-4e-06",
            seeds="init 2-11, all others 1",
        ),
        line(
            "linear",
            "augmentation",
            ("1.17 ± 0.26", 1.17, 0.26),
            ("0.0150 ± 0.0029", 0.015, 0.0029),
            "7.57",
            "0.9889",
            "+0.46",
            "-0.0096",
            seeds="augment 2-11, all others 1",
        ),
        line("hidden", "control", EXACT, EXACT, "0", "1", "0", "0", seeds="all 1, 10 repetitions"),
        line(
            "hidden",
            "one bit",
            ("0.30 ± 0.04", 0.30, 0.04),
            ("0.0075 ± 0.0009", 0.0075, 0.0009),
            "1.18",
            "0.9470",
            "+0.26",
            "-0.0062",
            strong=True,
            seeds="bit 2-11, all others 1",
        ),
        Line((Cell("shuffling 1/10", "shuffling"), *[Cell("-")] * 6), group="hidden"),
    ),
    note="SD: standard deviation over the trainings of a row; after ± its error bar. pp: "
    "percentage points.",
)
INTERVALS = Table(
    "intervals",
    "Means, and spreads with intervals",
    (Column("row", ODD, align="left"), Column("sd", "SD", "nats")),
    (
        Line((Cell(ODD), Cell("0.28 (0.21-0.41)", 0.28, interval=(0.21, 0.41)))),
        Line((Cell("n\n-1"), Cell("12,345 (-0.1 to +1.2e-05)", 12345, interval=(-0.1, 1.2e-5)))),
    ),
)


def strip(canvas):
    axes = canvas.subplots()
    values = np.sin(np.arange(30)).reshape(3, 10)
    for number, row in enumerate(values):
        axes.plot(row, np.full(10, number), "o", color=CYCLE[number], alpha=0.7)
    axes.set_yticks(range(3), ["initialization", "shuffling", "one bit"])
    axes.set_ylim(2.5, -0.5)
    axes.set_xlabel("accuracy minus its mean (percentage points)")


def curves(canvas):
    left, right = canvas.subplots(1, 2)
    for axes in (left, right):
        axes.plot([1, 2, 3, 4], [1e-6, 1e-4, 1e-2, 2e-2], marker="o", label="linear")
        axes.plot([1, 2, 3, 4], [1e-5, 3e-3, 2e-2, 2e-2], marker="s", label="hidden")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel("distance of the weights (L2)")
        axes.fill_between([1, 2], [1e-5, 1e-4], [1e-4, 1e-3], alpha=0.2, hatch="//")
    left.set_title('From "<seed> & id="x"')
    left.legend()


FIGURES = (
    Figure("accuracy", "Accuracy, training by training", "One dot per training.", strip),
    Figure("growth", ODD, f"Distance of twins by epoch. {ODD}", curves, (8.0, 3.2)),
)


def document(**changes):
    """Return the small report; `changes` replaces its fields."""
    parts = {
        "title": "What spreads the results of training?",
        "subtitle": "linear and hidden on digits, 20 epochs, 10 trainings per row.",
        "sections": (
            Section(
                "How far results spread",
                findings=(
                    "control: all 20 trainings with equal seeds end in equal bits.",
                    "hidden: one bit spreads results as far as new initial weights do "
                    "(cross-entropy SD 0.005 against 0.0093); two such runs disagree on 1.18% of "
                    "the test images.",
                ),
                tables=(SPREAD, INTERVALS),
                figures=FIGURES[:1],
            ),
            Section(
                f"Growth {ODD}",
                findings=(f"Twins part by a factor of 3.1 per epoch: {ODD}",),
                figures=FIGURES[1:],
                text=("What a reader needs to know first.",),
            ),
        ),
        "notes": ("hidden, shuffling: 9 of 10 runs failed: the training loss is nan.", ODD),
        "settings": ("all models: dataset digits, epochs 20", ODD),
        "environment": (("python", "3.13.1"), ("platform", ODD), ("long", "x" * 300)),
        "source": "Table 8",
        "commands": (("nondet run table8 --out 'a b'", "2026-01-31 12:00:00 UTC, 3 s, 9 runs"),),
        "published": (
            Table(
                "published",
                "ResNet-14 on CIFAR-10",
                (
                    Column("row", "row", align="left"),
                    Column("here", "here", "pp"),
                    Column("there", "published", "pp"),
                ),
                (
                    Line(
                        (Cell("all sources"), Cell("0.25", 0.251), Cell("0.26 ± 0.02", 0.26, 0.02))
                    ),
                ),
            ),
        ),
    }
    return Document(**parts | changes)


def filled(kind, text, place=""):
    """Return an instance of a type of `nondet.report.document`. Tuples have two elements, numbers
    are 0.5, and strings are `text(name)` with the name of the field, such as "Column.heading".
    """
    arguments = get_args(kind)
    if is_dataclass(kind):
        kinds = get_type_hints(kind, localns={"Canvas": object})
        return kind(
            *(filled(kinds[f.name], text, f"{kind.__name__}.{f.name}") for f in fields(kind))
        )
    if get_origin(kind) is tuple:
        elements = arguments[:1] * 2 if arguments[-1] is ... else arguments
        return tuple(filled(element, text, place) for element in elements)
    if get_origin(kind) is Callable:
        return lambda canvas: canvas.text(0.5, 0.5, text(place))
    if get_origin(kind) is types.UnionType:
        return filled(str if str in arguments else arguments[0], text, place)
    return {str: text, bool: lambda _: True, float: lambda _: 0.5}[kind](place)
