"""The most memory that this process has had."""

from __future__ import annotations

import sys

UNIT = 1 if sys.platform == "darwin" else 1024
"""macOS counts bytes, Linux kibibytes."""


def memory_peak() -> int | None:
    """Return the peak of this process's resident memory in bytes; None where nobody counts."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
