"""Fetch an adapter from wherever it lies, and check it before anyone loads it."""

from loragraft.adapter.fetch.job import FetchReport, fetch
from loragraft.adapter.fetch.limits import DEFAULT_LIMITS, Limits
from loragraft.adapter.fetch.record import check_folder
from loragraft.adapter.fetch.retry import Retry
from loragraft.adapter.fetch.sources import Source, parse_source

__all__ = [
    "DEFAULT_LIMITS",
    "FetchReport",
    "Limits",
    "Retry",
    "Source",
    "check_folder",
    "fetch",
    "parse_source",
]
