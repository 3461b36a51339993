"""The text of a record to be scored, and how well scores agree with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Fields = Mapping[str, str | Sequence[str]]
MIDDLE = 0.5
"""Labels above it are positive, labels below it negative; one that is neither has no class."""


def field_texts(fields: Fields) -> list[str]:
    r"""Return each field that says something under its name, in the order of the record.

    >>> field_texts({"rule": "No ads.", "good_examples": ["Buy!", "Sale!"], "note": " "})
    ['Rule: No ads.', 'Good examples:\n- Buy!\n- Sale!']
    """
    texts = []
    for name, value in fields.items():
        title = name.replace("_", " ").strip()
        title = title[:1].upper() + title[1:]
        if isinstance(value, str):
            texts += [f"{title}: {value}"] if value.strip() else []
        else:
            items = [f"\n- {item}" for item in value if item.strip()]
            texts += [f"{title}:{''.join(items)}"] if items else []
    return texts


def fields_text(fields: Fields) -> str:
    """Return a record's fields as one text, a name before each."""
    return "\n".join(field_texts(fields))


def roc_auc(labels: Sequence[float], scores: Sequence[float]) -> float | None:
    """Return the share of pairs of a positive and a negative that scores put in the right order.

    Ties count half (Mann and Whitney's U). None where one of the classes has no member.
    """
    import numpy as np

    truth = np.asarray(labels, dtype=np.float64)
    positive, negative = truth > MIDDLE, truth < MIDDLE
    kept = positive | negative
    count, others = int(positive.sum()), int(negative.sum())
    if not count or not others:
        return None
    ranks = mid_ranks(np.asarray(scores, dtype=np.float64)[kept])
    above = ranks[positive[kept]].sum() - count * (count + 1) / 2
    return float(above / (count * others))


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the correlation of two orders; None where one of them has a single value."""
    import numpy as np

    ranks = [mid_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second)]
    if any(len(values) < 2 or values.min() == values.max() for values in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share the middle of theirs. Shape as given."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return middles[inverse.reshape(-1)]


def known(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that there are."""
    return {name: float(value) for name, value in figures.items() if value is not None}
