"""Run every planted script and write docs/causes.md anew: `python tests/planted/update.py [NAMES]`.

With names, only these scripts run; what the page says of the others stays.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted.page import PAGE, Found, parse, render
from planted.plan import PLAN, Planted
from planted.tracing import causes, compare, lines_of


def find(planted: Planted) -> Found:
    """Run a planted script and return what was found."""
    with tempfile.TemporaryDirectory() as folder:
        verdict, again = compare(planted, Path(folder))
    said = ""
    if again is not None:
        said = ", ".join([again.outcome, *causes(again)])
    return Found(planted.script, tuple(causes(verdict)), tuple(lines_of(planted, verdict)), said)


def main(names: list[str]) -> None:
    """Update the page."""
    found = {each.script: each for each in parse(PAGE.read_text())} if PAGE.exists() else {}
    for planted in PLAN:
        if not names or planted.script in names:
            found[planted.script] = find(planted)
            print(found[planted.script], flush=True)
            PAGE.write_text(render([found[p.script] for p in PLAN if p.script in found]))


if __name__ == "__main__":
    main(sys.argv[1:])
