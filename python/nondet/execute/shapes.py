"""The sizes of data sets, known without reading those that have a fixed one."""

from dataclasses import dataclass

from nondet.studies.errors import SettingError
from nondet.studies.fit import of_row
from nondet.studies.study import Plan
from nondet.training.schedules import check_batch


@dataclass(frozen=True)
class Shape:
    """The size of a data set of images: the shape of an image (channels, height, width), the number
    of classes, and the numbers of training and test images.
    """

    image: tuple[int, int, int]
    classes: int
    train: int
    test: int


@dataclass(frozen=True)
class TextShape:
    """The size of a text: the size of its vocabulary, and the numbers of training, validation and
    test tokens.
    """

    types: int
    train: int
    valid: int
    test: int


SHAPES = {
    "digits": Shape((1, 8, 8), 10, 1347, 450),
    "mnist5k": Shape((1, 28, 28), 10, 3750, 1250),
    "cifar10": Shape((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": Shape((3, 32, 32), 100, 50_000, 10_000),
    "mnist": Shape((1, 28, 28), 10, 60_000, 10_000),
    "fashion-mnist": Shape((1, 28, 28), 10, 60_000, 10_000),
    "svhn": Shape((3, 32, 32), 10, 73_257, 26_032),
}
TEXT_SHAPES = {"penn-treebank": TextShape(10_000, 929_589, 73_760, 82_430)}


AnyShape = Shape | TextShape


def shape_of(dataset: str) -> AnyShape:
    """Return the size of a data set; one that is not in the tables above is read.

    Raises as `load_dataset`.
    """
    known: AnyShape | None = SHAPES.get(dataset) or TEXT_SHAPES.get(dataset)
    if known is not None:
        return known
    from nondet.data import TextDataset, load_dataset

    data = load_dataset(dataset)
    if isinstance(data, TextDataset):
        return TextShape(data.classes, len(data.train), len(data.valid), len(data.test))
    return Shape(data.image_shape, data.classes, len(data.train_labels), len(data.test_labels))


def check_batches(plan: Plan) -> None:
    """Raise SettingError for a batch that is larger than the training data.

    Data sets that are missing on this machine are not checked.
    """
    for config in plan.configs:
        try:
            shape = shape_of(config.dataset)
        except (OSError, ValueError, ImportError):
            continue
        check_batch(config, shape.train)
        for row in plan.rows_of(config):
            try:
                check_batch(row.config(config), shape.train)
            except SettingError as error:
                raise of_row(error, row, config) from None
