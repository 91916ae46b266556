"""The folder of a study on disk: its plan, runs and labels, and checks of their integrity."""

from nondet.store.errors import DamagedRunError, MixedStudyError, StoreError
from nondet.store.folder import CHECKSUMS
from nondet.store.labels import Labels
from nondet.store.listing import Listing, Listings, ShardListing, list_runs
from nondet.store.runs import Failure, Header, StoredRun
from nondet.store.schemas import FORMAT
from nondet.store.shards import OpenShard
from nondet.store.store import Store
from nondet.store.verification import Verification, find_studies, verify

__all__ = [
    "CHECKSUMS",
    "FORMAT",
    "DamagedRunError",
    "Failure",
    "Header",
    "Labels",
    "Listing",
    "Listings",
    "MixedStudyError",
    "OpenShard",
    "ShardListing",
    "Store",
    "StoreError",
    "StoredRun",
    "Verification",
    "find_studies",
    "list_runs",
    "verify",
]
