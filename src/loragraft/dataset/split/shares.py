"""The shares of train, val and test, as exact fractions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from loragraft.dataset.split.rounding import SPLITS, Shares
from loragraft.errors import InputError

FRACTIONS = ("0.70", "0.15", "0.15")

_SHARE = re.compile(r"[0-9]{0,3}(?:\.[0-9]{0,9})?|[0-9]{1,4}/[1-9][0-9]{0,3}")


def read_shares(given: Sequence[float | str | Fraction]) -> Shares:
    """Return three shares: ``0.7 0.15 0.15``, ``70 15 15`` (percent), ``1/2 1/4 1/4``.

    A float counts as the shortest decimal that means it, so that 0.7 is seven tenths.

    Raises:
        InputError: If they are not three, one is not above 0, or they are not 1 or 100 together.
    """
    shown = ", ".join(str(item) for item in given)
    expected = f"expected three for {', '.join(SPLITS)}, together 1 or 100, such as 0.70,0.15,0.15"
    shares = [_share(item) for item in given]
    if len(shares) != len(SPLITS) or any(share is None or share <= 0 for share in shares):
        raise InputError(f"The fractions {shown[:80]} cannot be used; {expected}.")
    train, val, test = (Fraction(share) for share in shares if share is not None)
    whole = train + val + test
    if whole not in (1, 100):
        raise InputError(f"The fractions {shown[:80]} are {float(whole):g} together; {expected}.")
    return (train / whole, val / whole, test / whole)


def _share(item: float | str | Fraction) -> Fraction | None:
    if isinstance(item, Fraction):
        return item
    text = str(item).strip()
    if not _SHARE.fullmatch(text) or not any(character.isdigit() for character in text):
        return None
    return Fraction(text)
