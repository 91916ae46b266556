"""Print the results of benchmark runs as Markdown.

``python bench/report.py results.json`` prints the table of a run, and growth tables if it has some.
``python bench/report.py before.json after.json`` prints two runs side by side.

"x" is a contender's time divided by that of ours, pair by pair: above 1, ours is faster. It is the
median over processes of each process's median, with their range; quartiles are those of all pairs.
"""

import sys
from pathlib import Path

from growth import growth_tables
from measured import UNSTABLE, Case, Measured, Results, read


def heading(results: Results) -> str:
    """Return where and when a run was, and how to read its table."""
    at = results.environment
    line = (
        f"{at['processor']}, {at['threads']} threads, {at['isa']} kernels, {at['compiler']}, "
        f"torch {at['torch']}, {at['date']}, processes: {at['processes']}. x: the contender's "
        f"time divided by ours, pair by pair; unstable: its quartile range exceeds {UNSTABLE:.0%}."
    )
    note = f" {at['note']}" if "note" in at else ""
    return line + note + (" A smoke run: these numbers mean nothing." if at["smoke"] else "")


def table(results: Results) -> str:
    """Return the table of a run."""
    lines = [
        "| case | contender | role | ms | GB/s | x | processes | quartiles | of ceiling | |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---|",
        *(row(case, each) for case in results.cases for each in case.contenders),
    ]
    noted = [(case, each) for case in results.cases for each in case.contenders if notes(each)]
    lines += [f"\n{case.name}, {each.name}: {'; '.join(notes(each))}" for case, each in noted]
    return "\n".join(lines)


def notes(each: Measured) -> list[str]:
    """Return the notes of a contender, with the values of all processes."""
    found = []
    for name in each.processes[0].notes:
        values = [f"{timing.notes[name]:.4g}" for timing in each.processes if name in timing.notes]
        found.append(f"{name} {', '.join(values)}")
    return found


def row(case: Case, each: Measured) -> str:
    rate = f"{each.gigabytes_per_second:.2f}" if each.moved else ""
    cells = [case.name, each.name, each.role, milliseconds(each), rate, *ratio_cells(each)]
    share = share_of_ceiling(case, each)
    cells += ["" if share is None else f"{share:.0%}", remark(each)]
    return f"| {' | '.join(cells)} |"


def milliseconds(each: Measured) -> str:
    return f"{each.seconds * 1e3:.4g}"


def ratio_cells(each: Measured) -> list[str]:
    """Return the ratio, its range over processes and its quartiles."""
    if each.ratio is None:
        return ["1", "", ""]
    low, high = each.quartiles
    medians = each.medians
    over = f"{min(medians):.2f} to {max(medians):.2f}" if len(medians) > 1 else ""
    return [f"{each.ratio:.2f}", over, f"{low:.2f} to {high:.2f}"]


def remark(each: Measured) -> str:
    words = []
    if each.wanted is not None:
        words.append(f"wanted {each.wanted:.2f}" + (": missed" if each.missed else ""))
    if each.unstable:
        words.append("unstable")
    return ", ".join(words)


def share_of_ceiling(case: Case, each: Measured) -> float | None:
    """Return the rate of a contender as a share of the best ceiling of its case, None without one.
    Both are compared with ours, which ran beside each.
    """
    ceilings = [other for other in case.others if other.role == "ceiling"]
    if not ceilings:
        return None

    def rate(one: Measured) -> float:  # relative to ours in seconds
        return one.moved / (one.ratio or 1.0)

    return rate(each) / max(map(rate, ceilings))


def side_by_side(before: Results, after: Results) -> str:
    """Return two runs side by side; a row for each contender, and for ours with its time. A
    positive change is an improvement of ours.
    """
    lines = [
        f"before: {heading(before)}\n",
        f"after: {heading(after)}\n",
        "| case | contender | before | after | change | |",
        "|---|---|---:|---:|---:|---|",
    ]
    old, new = by_contender(before), by_contender(after)
    for key in dict.fromkeys([*new, *old]):
        a, b = old.get(key), new.get(key)
        change = ""
        if a and b:
            gain = b.ratio / a.ratio if a.ratio and b.ratio else a.seconds / b.seconds
            change = f"{gain - 1:+.0%}"
        cells = [*key, shown(a), shown(b), change, both_remarks(a, b)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_contender(results: Results) -> dict[tuple[str, str], Measured]:
    return {(case.name, each.name): each for case in results.cases for each in case.contenders}


def shown(each: Measured | None) -> str:
    """Return the ratio, or the time of ours."""
    if each is None:
        return ""
    return f"{milliseconds(each)} ms" if each.ratio is None else f"{each.ratio:.2f}"


def both_remarks(before: Measured | None, after: Measured | None) -> str:
    words = [remark(after)] if after else []
    if before and before.unstable:
        words.insert(0, "unstable before")
    return ", ".join(filter(None, words))


def main(arguments: list[str]) -> None:
    if len(arguments) not in (1, 2):
        sys.exit(
            "usage: python bench/report.py results.json\n"
            "       python bench/report.py before.json after.json"
        )
    runs = [read(Path(name)) for name in arguments]
    if len(runs) == 2:
        print(side_by_side(*runs))
        return
    print(f"{heading(runs[0])}\n\n{table(runs[0])}")
    grown = growth_tables(runs[0])
    if grown:
        print(f"\n{grown}")


if __name__ == "__main__":
    main(sys.argv[1:])
