"""Write the files of digests and list the changes: `python tests/digests/update.py ops`, or
`studies`, or both names.

Both files hold the results that users get, bit for bit. Check every name in the list, and name each
intended change in CHANGELOG.md.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the tests import this folder as a package


def main(kinds: list[str]) -> None:
    """Write the digests of these kinds."""
    if not kinds or not set(kinds) <= {"ops", "studies"}:
        sys.exit("usage: python tests/digests/update.py [ops] [studies]")
    if "ops" in kinds:
        from nondet.checking.digests.cases import computed
        from nondet.checking.digests.ops import DIGESTS, FAMILIES

        write(DIGESTS, {name: computed(family()) for name, family in FAMILIES.items()})
    if "studies" in kinds:
        from digests.studies import recorded

        write(HERE / "study_digests.json", recorded())


def write(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """Write groups of digests to a file and print the differences from its old content."""
    before = flat(json.loads(path.read_text())) if path.exists() else {}
    after = flat(found)
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            print(f"new: {key}")
        elif key not in after:
            print(f"gone: {key}")
        elif before[key] != after[key]:
            print(f"changed: {key}")
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(after)} entries in {path}")


def flat(groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the entries of all groups under the names "group: name"."""
    return {
        f"{group}: {key}": value for group, held in groups.items() for key, value in held.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])
