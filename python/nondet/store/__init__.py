"""What a study leaves on the disk, and what can be wrong with it."""

from nondet.store.errors import DamagedRunError, StoreError
from nondet.store.folder import CHECKSUMS
from nondet.store.labels import Labels
from nondet.store.listing import Listing, Listings, list_runs
from nondet.store.runs import FORMAT, Failure, Outline, StoredRun
from nondet.store.store import Store
from nondet.store.verification import Verification, find_studies, verify

__all__ = [
    "CHECKSUMS",
    "FORMAT",
    "DamagedRunError",
    "Failure",
    "Labels",
    "Listing",
    "Listings",
    "Outline",
    "Store",
    "StoreError",
    "StoredRun",
    "Verification",
    "find_studies",
    "list_runs",
    "verify",
]
