"""Measures and intervals: right by hand, and as wide as they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.rag.index.store import Index
from loragraft.rag.search.quality import (
    Judged,
    Question,
    columns,
    difference,
    estimate,
    halves,
    judge,
    measure,
)


def test_measures_by_hand() -> None:
    found = measure(["a", "b", "c", "d"], {"b", "d", "x"}, 4)
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found == pytest.approx({"recall": 2 / 3, "ndcg": gain / ideal, "mrr": 0.5})
    assert measure([], {"a"}, 5) == {"recall": 0, "ndcg": 0, "mrr": 0}
    assert measure(["a", "b"], {"a", "b", "c"}, 2) == {"recall": 1, "ndcg": 1, "mrr": 1}
    assert measure(["a", "b"], {"b"}, 1) == {"recall": 0, "ndcg": 0, "mrr": 0}


def test_measures_as_scikit_learn_has_them() -> None:
    from sklearn.metrics import ndcg_score

    generator = np.random.default_rng(0)
    for _ in range(20):
        right = generator.random(30) < 0.2
        right[3] = True
        scores = generator.random(30)
        order = [str(number) for number in np.argsort(-scores)]
        ours = measure(order, {str(number) for number in np.flatnonzero(right)}, 10)["ndcg"]
        assert ours == pytest.approx(ndcg_score([right.astype(int)], [scores], k=10))


@given(st.permutations("abcdefgh"), st.sets(st.sampled_from("abcdefgh"), min_size=1),
       st.integers(1, 10))  # fmt: skip
def test_measures_are_from_0_to_1_and_1_for_the_best_order(
    found: list[str], right: set[str], k: int
) -> None:
    assert all(0 <= value <= 1 + 1e-12 for value in measure(found, right, k).values())
    best = sorted(found, key=lambda chunk_id: chunk_id not in right)
    assert measure(best, right, k) == pytest.approx({"recall": 1, "ndcg": 1, "mrr": 1})


def test_judges_spans_by_what_lies_in_them(index: Index) -> None:
    doc_id = index.chunks([20])[0].doc_id
    here = [chunk for chunk in index.iterate() if chunk.doc_id == doc_id]
    first, second = here[0], here[1]
    middle = (first.start + first.stop) // 2
    asked = [
        Question("all of it", doc_id),
        Question("one", doc_id, second.start, second.stop),
        Question("inside", doc_id, middle, middle + 3),
        Question("touches the second", doc_id, first.start, second.start + 1),
        Question("elsewhere", "nobody"),
        Question("behind the end", doc_id, 10**6, 10**6 + 5),
    ]
    judged = {one.question.text: one.chunks for one in judge(index, asked)}
    assert judged == {
        "all of it": {chunk.chunk_id for chunk in here},
        "one": {second.chunk_id},
        "inside": {first.chunk_id},
        "touches the second": {first.chunk_id},
    }
    with pytest.raises(InputError, match="holds none of the 1 documents"):
        judge(index, [Question("?", "nobody")])


def test_intervals_cover_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    for clusters, each in ((40, 5), (8, 20)):
        covered = 0
        for _ in range(200):
            means = generator.normal(0, 1, clusters)
            values = np.repeat(means, each) + generator.normal(0, 1, clusters * each)
            names = [str(number) for number in np.repeat(np.arange(clusters), each)]
            found = estimate(values, names)
            covered += found.low <= 0 <= found.high
        assert 0.88 <= covered / 200 <= 0.99


def test_paired_differences_are_narrower_than_the_means() -> None:
    generator = np.random.default_rng(2)
    ours = generator.random(300)
    theirs = ours - 0.02 + generator.normal(0, 0.02, 300)
    names = [str(number) for number in range(300)]
    found = difference(ours, theirs, names)
    assert found.low < 0.02 < found.high
    assert found.low > 0
    assert found.high - found.low < estimate(ours, names).high - estimate(ours, names).low
    assert estimate([1.0, 0.0], ["a", "a"]).low == -math.inf
    assert columns([{"mrr": 1.0}, {"mrr": 0.5}]) == {"mrr": [1.0, 0.5]}


def test_halves_never_part_a_document() -> None:
    questions = [Judged(Question(f"{n}?", f"doc{n % 9}"), frozenset("a")) for n in range(60)]
    one, other = halves(questions)
    assert {*one, *other} == set(questions)
    assert not {q.question.doc_id for q in one} & {q.question.doc_id for q in other}
    assert halves(questions) == (one, other)
