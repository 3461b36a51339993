"""The seed of a split, and the order it gives to records: the same on every machine."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from loragraft.errors import InputError

DEFAULT_SEED = 20251101
VARIABLE = "FINETUNE_SPLIT_SEED"
LARGEST_SEED = 2**63 - 1

_SEED = re.compile(r"[0-9]{1,19}")


class Seed(NamedTuple):
    """A seed and who said it."""

    value: int
    source: str


def find_seed(given: str | int | None, environment: Mapping[str, str] | None = None) -> Seed:
    """Return the seed that counts: the one given, else the environment's, else the default.

    Raises:
        InputError: If it is no whole number from 0 to 2**63 - 1 in plain digits.
    """
    environment = os.environ if environment is None else environment
    if given is not None:
        return Seed(_check(str(given), "--seed"), "--seed")
    if VARIABLE in environment:
        return Seed(_check(environment[VARIABLE], VARIABLE), VARIABLE)
    return Seed(DEFAULT_SEED, "the default")


def _check(text: str, source: str) -> int:
    if not _SEED.fullmatch(text) or int(text) > LARGEST_SEED:
        raise InputError(
            f"The seed {text[:40]!r} ({source}) is no whole number from 0 to {LARGEST_SEED}; "
            f"expected plain digits, such as {DEFAULT_SEED}."
        )
    return int(text)


def rank(seed: int, *names: str | None) -> bytes:
    """Return a place in an order that only the seed and the names decide.

    No random generator takes part: its numbers depend on its version and on how many were drawn
    before.
    """
    parts = [str(seed), *("0" if name is None else f"1{name}" for name in names)]
    text = "".join(f"{len(part.encode('utf-8'))}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8")).digest()
