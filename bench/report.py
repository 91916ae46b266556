"""Print the table of a benchmark run: rates, the ratio to each peer, and the fraction of the
machine's ceiling.

``python bench/report.py results.json`` reads the file that ``pytest bench/ --benchmark-only
--benchmark-json results.json`` wrote; the run itself prints the same table at its end.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    case: str
    name: str
    role: str
    median: float
    spread: float
    moved: int
    threads: int
    notes: dict[str, float]

    @property
    def rate(self) -> float:
        """Return the rate in GB/s."""
        return self.moved / self.median / 1e9


def rows_of(benchmarks: list[dict]) -> list[Row]:
    return [
        Row(
            each["group"],
            each["name"],
            each["extra_info"]["role"],
            each["stats"]["median"] / each["extra_info"]["share"],
            each["stats"]["iqr"] / each["extra_info"]["share"],
            each["extra_info"]["moved"],
            each["extra_info"]["threads"],
            each["extra_info"]["notes"],
        )
        for each in benchmarks
    ]


def table(rows: list[Row]) -> str:
    """Return the table as Markdown; "against ours" is the time of a contender divided by ours."""
    cases: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cases[row.case].append(row)
    lines = [
        "| case | contender | role | median ms | IQR ms | GB/s | against ours | of ceiling |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for case, members in cases.items():
        ours = next((row for row in members if row.role == "ours"), None)
        ceiling = max((row.rate for row in members if row.role == "ceiling"), default=None)
        for row in members:
            against = f"{row.median / ours.median:.2f}x" if ours else ""
            part = f"{row.rate / ceiling:.0%}" if ceiling else ""
            lines.append(
                f"| {case} | {row.name} | {row.role} | {row.median * 1e3:.2f} | "
                f"{row.spread * 1e3:.2f} | {row.rate:.2f} | {against} | {part} |"
            )
    for row in rows:
        for name, value in row.notes.items():
            lines.append(f"\n{row.case}, {row.name}: {name} {value:.4g}")
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/report.py results.json")
    print(table(rows_of(json.loads(Path(sys.argv[1]).read_text())["benchmarks"])))


if __name__ == "__main__":
    main()
