"""What `ls`, `studies` and `verify` print with --json. docs/command-line.md describes it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.studies.catalog import STUDIES

if TYPE_CHECKING:
    from nondet.execute.cost import Cost
    from nondet.store import Listing, Listings, ShardListing, Verification
    from nondet.studies.study import Plan

VERSION = 1
"""The version of the documents, increased by every change that is not an addition."""


def listing_document(folders: Sequence[Path], studies: Sequence["Listings"]) -> str:
    """Return the runs of studies, in total and row by row, as JSON."""
    return _format(
        "nondet ls",
        {
            "studies": [
                {
                    "folder": str(folder),
                    "study": found.plan.study,
                    "models": [config.model for config in found.plan.configs],
                    "total": _totals(found.total),
                    "rows": [
                        {"model": model, "row": row, **_totals(listing)}
                        for (model, row), listing in found.rows.items()
                    ],
                    "damaged": found.damaged,
                    "shards": [_shard(each) for each in found.shards],
                }
                for folder, found in zip(folders, studies, strict=True)
            ]
        },
    )


def studies_document(
    plans: Mapping[tuple[str, str], "Plan"], costs: Mapping[tuple[str, str], "Cost"], workers: int
) -> str:
    """Return the built-in studies with their presets as JSON.

    plans, costs: by study and preset. workers: the processors that may be used.
    """
    studies = [
        {
            "study": study.name,
            "title": study.title,
            "shows": study.shows,
            "source": study.source,
            "default_preset": study.default_preset,
            "presets": {
                preset: {
                    **asdict(costs[study.name, preset]),
                    "models": [config.model for config in plans[study.name, preset].configs],
                    "datasets": _datasets(plans[study.name, preset]),
                }
                for preset in study.presets
            },
        }
        for study in STUDIES.values()
    ]
    return _format("nondet studies", {"workers": workers, "studies": studies})


def verification_document(found: Sequence["Verification"]) -> str:
    """Return what was found in the folders of studies as JSON."""
    return _format(
        "nondet verify",
        {
            "sound": not any(each.problems for each in found),
            "studies": [
                {name.name: _plain(getattr(each, name.name)) for name in fields(each)}
                for each in found
            ],
        },
    )


def _totals(listing: "Listing") -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(listing).items()}


def _shard(listing: "ShardListing") -> dict[str, Any]:
    state = listing.state
    return {
        "shard": str(state.shard),
        "running": state.running,
        "process": state.process,
        "began": state.began or None,
        "planned": listing.planned,
        "stored": listing.stored,
    }


def _datasets(plan: "Plan") -> list[str]:
    return list(dict.fromkeys(config.dataset for config in plan.configs))


def _plain(value: Any) -> Any:
    """Return a value of JSON; None for NaN and infinities, which JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _format(kind: str, entries: Mapping[str, Any]) -> str:
    document = {"format": kind, "version": VERSION, **entries}
    return json.dumps(document, indent=2, allow_nan=False)
