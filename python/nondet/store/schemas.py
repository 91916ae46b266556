"""The entries of the JSON files of a study, which anybody may have written."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from nondet.schemas import Integer, Matching, Natural, Range, Sha256, check

FORMAT = 3
"""Version of the file formats in a study's folder, increased by every incompatible change."""

FORMER_FORMAT = 2
"""The version whose folders can still be read and reported, but not continued."""

END_OF_SENTENCE = "end_of_sentence"
"""Key in the "dataset" object of run.json: the type number of a text's end-of-sentence token."""

Address = Annotated[str, Matching("[0-9a-f]{32}", "an address of 32 hexadecimal digits")]
Hash = Annotated[str, Matching("[0-9a-f]+", "hexadecimal digits")]
Bits = Annotated[str, Matching("(0x)?[0-9a-f]{4,16}", "a bit pattern in hexadecimal")]
Number = Annotated[str, Matching("[0-9]{1,9}", "the digits of a number")]
Date = Annotated[
    str,
    Matching(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00",
        "a date and time in UTC, such as 2026-01-31T12:00:00+00:00",
    ),
]
Files = dict[str, Sha256]
Seconds = Annotated[float, Range(0)]


class FailureEntries(TypedDict):
    """See `nondet.store.runs.Failure`."""

    reason: str
    epoch: Natural
    step: Natural
    crashed: bool


class PerturbationEntries(TypedDict):
    """See `nondet.training.perturb.Perturbation`."""

    target: str
    tensor: str
    index: Natural
    step: Natural
    change: str
    direction: Integer | None
    bit: Integer | None
    old_value: float | None
    new_value: float | None
    old_bits: Bits
    new_bits: Bits


class HashEntries(TypedDict):
    """SHA-256 of the final weights and of the predictions."""

    weights: Hash
    predictions: Hash


class RunEntries(TypedDict):
    """The entries of run.json; in the former format without "files"."""

    format: Literal[2, 3]
    job: dict[str, Any]
    environment: dict[str, Any]
    dataset: NotRequired[dict[str, str]]
    perturbations: list[PerturbationEntries]
    seconds: Seconds
    failure: FailureEntries | None
    hashes: NotRequired[HashEntries]
    files: NotRequired[Files]


class LaterRecordEntries(TypedDict):
    """The entries of record.json: a record that was made after its run."""

    format: Literal[3]
    run: Address
    record: str
    hashes: HashEntries
    environment: dict[str, Any]
    files: Files


class CrashEntries(TypedDict):
    """The entries of a crash."""

    format: Literal[3]
    job: dict[str, Any]
    environment: dict[str, Any]
    failure: FailureEntries


class LabelEntries(TypedDict):
    """The entries of labels.json; in the former format only "dataset" and "notes"."""

    format: NotRequired[Literal[3]]
    dataset: str
    data: NotRequired[str]
    notes: list[str]
    files: NotRequired[Files]


class CommandEntries(TypedDict):
    """See `nondet.store.commands.Command`."""

    words: list[str]
    began: Date
    seconds: Seconds | None
    runs: Natural


class CommandsEntries(TypedDict):
    """The entries of commands.json."""

    format: Literal[3]
    commands: list[CommandEntries]


class RepetitionEntries(TypedDict):
    """See `nondet.store.repetitions.Repetitions`."""

    model: str
    dataset: str
    batch_size: Natural
    precision: str
    device: str
    gpu: str
    passes: Natural
    processes: Natural
    results: Natural
    within: Natural
    obstacle: str
    date: Date


class RepetitionsEntries(TypedDict):
    """The entries of repetitions.json."""

    format: Literal[3]
    repetitions: list[RepetitionEntries]


class EnvironmentEntries(TypedDict):
    """The environment of a shard's trainings on a device with a number of threads."""

    device: str
    threads: Natural
    environment: dict[str, Any]


class ShardEntries(TypedDict):
    """The entries of the file of a shard that is under way."""

    process: Natural
    host: str
    began: Date
    environments: list[EnvironmentEntries]


class StudyEntries(TypedDict):
    """The entries of study.json."""

    format: Literal[3]
    plan: dict[str, Any]
    data: dict[str, list[Sha256]]


def check_run_record(record: Any) -> dict[str, Any]:
    """Return the contents of run.json if they have the right form; raise ValueError otherwise."""
    checked: dict[str, Any] = check(RunEntries, record)
    if (checked["failure"] is None) != ("hashes" in checked):
        raise ValueError("has both a failure and hashes, or neither")
    if (checked["format"] == FORMAT) != ("files" in checked):
        raise ValueError("lists no files, which its format does")
    number = checked.get("dataset", {}).get(END_OF_SENTENCE)
    if number is not None:
        check(Number, number, f"dataset.{END_OF_SENTENCE}")
    return checked
