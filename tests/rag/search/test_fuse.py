"""Fusion: what holds for all scores and weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.rag.search.fuse import Weights, fuse

Pairs = list[tuple[float, float]]
PAIRS = st.lists(
    st.tuples(st.floats(-1, 1, width=32), st.floats(0, 1e4, width=32)), min_size=1, max_size=30
)
SHARES = st.floats(0, 1)


def fused(pairs: Pairs, share: float) -> np.ndarray:
    dense, lexical = (np.array(values, np.float32) for values in zip(*pairs, strict=True))
    return fuse(dense, lexical, Weights(share, 1 - share))


@given(PAIRS, SHARES)
def test_scores_are_from_0_to_1(pairs: Pairs, share: float) -> None:
    scores = fused(pairs, share)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores <= 1 + 1e-6).all()


@given(PAIRS, SHARES)
def test_what_is_better_in_both_is_not_worse(pairs: Pairs, share: float) -> None:
    scores = fused(pairs, share)
    for one, first in zip(pairs, scores, strict=True):
        for other, second in zip(pairs, scores, strict=True):
            if one[0] >= other[0] and one[1] >= other[1]:
                assert first >= second


@given(PAIRS)
def test_one_weight_of_0_leaves_the_others_order(pairs: Pairs) -> None:
    dense = np.maximum(np.array([pair[0] for pair in pairs], np.float32), 0)
    lexical = np.array([pair[1] for pair in pairs], np.float32)
    for scores, alone in ((fused(pairs, 1), dense), (fused(pairs, 0), lexical)):
        order = np.argsort(-alone, kind="stable")
        assert (np.diff(scores[order]) <= 1e-7).all()


@given(PAIRS, SHARES, st.randoms())
def test_the_order_of_candidates_does_not_matter(
    pairs: Pairs, share: float, random: object
) -> None:
    places = list(range(len(pairs)))
    random.shuffle(places)  # type: ignore[attr-defined]
    shuffled = fused([pairs[place] for place in places], share)
    np.testing.assert_array_equal(shuffled, fused(pairs, share)[places])


@given(PAIRS, SHARES, st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_scale_of_bm25_and_of_the_weights_does_not_matter(
    pairs: Pairs, share: float, factor: float
) -> None:
    louder = [(dense, lexical * factor) for dense, lexical in pairs]
    if max(lexical for _dense, lexical in pairs) > 1e-30:  # below, float32 has no digits left
        np.testing.assert_allclose(fused(louder, share), fused(pairs, share), atol=1e-6)
    dense, lexical = (np.array(values, np.float32) for values in zip(*pairs, strict=True))
    more = fuse(dense, lexical, Weights(share * factor, (1 - share) * factor))
    np.testing.assert_allclose(more, fused(pairs, share), atol=1e-6)


def test_nothing_to_fuse() -> None:
    empty = np.empty(0, np.float32)
    assert len(fuse(empty, empty)) == 0


@pytest.mark.parametrize(
    "weights", [(0, 0), (-1, 2), (math.nan, 1), (math.inf, 1), (1e308, 1.7e308)]
)
def test_weights_that_weigh_nothing_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="eights"):
        Weights(*weights)
