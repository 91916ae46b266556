"""What `nondet run --shard` does beside training: it records its command, and ends the study."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from nondet.characters import printable
from nondet.store import OpenShard, Store
from nondet.store.commands import recorded
from nondet.store.listing import jobs_by_address
from nondet.studies.shards import Shard


def recorded_command(
    store: Store, words: Sequence[str], opened: OpenShard | None
) -> AbstractContextManager[None]:
    """Record a command while it runs, with the runs that are its own to train."""
    if opened is None:
        return recorded(store.root, store.runs, words)
    shard = opened.shard
    return recorded(
        store.root,
        store.runs,
        words,
        count=lambda: store.count(shard.share(store.plan())),
        alone=opened.alone,
    )


def is_complete(store: Store, shard: Shard, *, last: bool, quiet: bool) -> bool:
    """Return True if a shard was the last one, and no run of the study is missing; else say what is
    to be done, unless `quiet`.

    last: no other shard is under way. Raises StoreError if the study cannot be read.
    """
    plan = store.plan()
    jobs = [job for job, _ in jobs_by_address(plan).values()]
    missing = len(jobs) - store.count(jobs)
    if last and missing == 0:
        return True
    share = len({job.address for job in shard.share(plan)})
    lines = [f"shard {shard} has ended; its share is {share} of the study's {len(jobs)} runs"]
    if not last:
        lines.append("other shards are under way; the last one to end prints the report")
    else:
        lines.append(
            f"{missing} runs are missing, and no other shard is under way: run the remaining ones, "
            f"or the same command without --shard; `nondet report {store.root}` reports what is "
            "there"
        )
    if not quiet:
        print("\n".join(map(printable, lines)), file=sys.stderr)
    return False
