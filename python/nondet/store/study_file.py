"""The file study.json: the plan of a study, and the data that its runs are trained on.

Its first entry is the SHA-256 of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nondet.files import is_unfinished, write_atomically
from nondet.json_files import format_checksummed, parse_checksummed, parse_json
from nondet.schemas import check
from nondet.store.errors import StoreError
from nondet.store.lock import LOCK
from nondet.store.schemas import FORMAT, FORMER_FORMAT, StudyEntries
from nondet.store.shards import FOLDER as SHARDS
from nondet.studies.job import Job, address_of
from nondet.studies.study import Plan

NAME = "study.json"
_OTHER_VERSION = (
    "{path} was written by another version of nondet (format {version}; this version reads format "
    "{known}). Read it with that version, or choose another folder with --out."
)


@dataclass(frozen=True)
class StudyFile:
    """The contents of study.json.

    data: by the name of a data set, the SHA-256 of its contents; the last is that of new runs,
    others are of runs on data that the user allowed to be mixed. Empty in the former format.
    """

    plan: Plan
    data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def current(self) -> dict[str, str]:
        """Return the SHA-256 of the data of new runs, by data set."""
        return {name: digests[-1] for name, digests in self.data.items()}

    def on_all_data(self, job: Job) -> list[Job]:
        """Return a job, which is on the data of new runs if it names none, and the same job on all
        other data that are allowed, the newest first.
        """
        digests = self.data.get(job.config.dataset, ())
        if job.data == "" and digests:
            job = replace(job, data=digests[-1])
        others = (replace(job, data=digest) for digest in reversed(digests))
        return list(dict.fromkeys((job, *others)))

    def address(self, job: Job) -> str:
        """Return the address of a run in the folder; the former format did not name the data."""
        if self.format == FORMAT:
            return job.address
        identity = {**job.identity(), "format": self.format}
        del identity["data"]
        return address_of(identity)


def read_study(root: Path) -> StudyFile:
    """Return the contents of a folder's study.json. Raises StoreError if there is none or it cannot
    be read.
    """
    path = root / NAME
    try:
        raw = path.read_bytes()
        data = parse_json(raw)
        if isinstance(data, dict) and "study" in data:  # a former format
            if data.get("format") != FORMER_FORMAT:
                raise _other_version(path, data.get("format", 1))
            del data["format"]
            return StudyFile(Plan.from_json(data), format=FORMER_FORMAT)
        if isinstance(data, dict) and isinstance(data.get("plan"), dict):
            version = data.get("format")
            if version != FORMAT and isinstance(version, int):
                raise _other_version(path, version)
        entries = check(StudyEntries, parse_checksummed(raw))
        digests = {name: tuple(each) for name, each in entries["data"].items()}
        for name, each in digests.items():
            if not each or len(set(each)) < len(each):
                raise ValueError(f"data.{name} is {list(each)}; each SHA-256 must be there once")
        plan = Plan.from_json(entries["plan"], "plan")
        study = StudyFile(plan, digests)
        return StudyFile(plan.with_data(study.current), digests)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{root} holds no study (no {NAME})") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as a study: {error}") from error


def write_study(root: Path, study: StudyFile) -> None:
    """Replace a folder's study.json. Raises OSError if it cannot be written."""
    data = {name: list(digests) for name, digests in study.data.items()}
    entries = {"format": FORMAT, "plan": study.plan.to_json(), "data": data}
    write_atomically(root / NAME, format_checksummed(entries))


def check_place(root: Path) -> None:
    """Raise StoreError if a folder, which need not exist, holds other files than a study's.

    Raises OSError if it cannot be read.
    """
    strange = root.is_dir() and any(
        path.name not in (LOCK, SHARDS) and not is_unfinished(path) for path in root.iterdir()
    )
    # In this order, as another shard may just be setting up the study: NAME comes first.
    if strange and not (root / NAME).exists():
        raise StoreError(
            f"{root} is not empty and holds no study. Choose another folder with --out."
        )


def open_study(root: Path, plan: Plan) -> StudyFile:
    """Return the study of a folder, which is `plan`; a new or empty folder gets it.

    Raises StoreError if the folder holds another study or other files, or is of a former format,
    OSError if it cannot be written.
    """
    check_place(root)
    if not (root / NAME).exists():
        study = StudyFile(plan, {name: (sha,) for name, sha in plan.data.items()})
        write_study(root, study)
        return study
    study = read_study(root)
    if study.format != FORMAT:
        raise StoreError(
            f"{root} was written by an earlier version of nondet (format {study.format}; this "
            f"version writes format {FORMAT}): it can be read and reported, but not continued, "
            "because its runs do not name their data and environment. Choose another folder with "
            "--out."
        )
    differences = study.plan.differences(plan)
    if differences:
        raise StoreError(
            f"{root} holds another study ({'; '.join(differences)}). Choose another folder with "
            "--out, or repeat the command that created it."
        )
    return study


def _other_version(path: Path, version: object) -> StoreError:
    return StoreError(_OTHER_VERSION.format(path=path, version=version, known=FORMAT))
