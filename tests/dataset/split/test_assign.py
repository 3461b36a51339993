"""Who goes where: nobody twice, strata within one, and nothing but ids and the seed decides."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.split.assign import GroupBy, Item, Split, split_records
from loragraft.dataset.split.papers import divide_papers
from loragraft.dataset.split.rounding import SPLITS, apportion
from loragraft.dataset.split.seed import DEFAULT_SEED, LARGEST_SEED, Seed, find_seed, rank
from loragraft.dataset.split.shares import read_shares
from loragraft.errors import InputError

USUAL = read_shares(("0.70", "0.15", "0.15"))
MEMBERS = st.lists(
    st.tuples(st.sampled_from(["numeric", "entity", "yes_no"]),
              st.none() | st.sampled_from(["p1", "p2", "p3", "p 4", "é"])),
    min_size=6, max_size=60,
)  # fmt: skip


def make(members: Sequence[tuple[str, str | None]]) -> list[Item]:
    return [Item(f"q{number}", *member) for number, member in enumerate(members)]


def papers(count: int, seed: int = 0) -> list[Item]:
    """Records of papers that differ in size and mixture."""
    drawn = random.Random(seed)
    return [Item(f"{paper}-{n}", drawn.choice("abcd"), f"paper {paper}")
            for paper in range(count) for n in range(drawn.randrange(4, 17))]  # fmt: skip


def ids(split: Split) -> dict[str, list[str]]:
    return {name: [item.id for item in items] for name, items in split.parts.items()}


@given(members=MEMBERS, seed=st.integers(0, LARGEST_SEED), order=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_strata_are_divided_exactly_whatever_the_order(
    members: list[tuple[str, str | None]], seed: int, order: random.Random
) -> None:
    items = make(members)
    split = split_records(items, seed=seed)
    placed = [item for part in split.parts.values() for item in part]
    assert sorted(placed) == sorted(items)  # nobody twice, nobody lost
    assert tuple(map(len, split.parts.values())) == apportion(len(items), USUAL)
    for fields in [("task_type", "paper_id"), ("task_type",), ("paper_id",)]:
        numbers = Counter(tuple(getattr(item, field) for field in fields) for item in items)
        for name, share in zip(SPLITS, USUAL, strict=True):
            counts = Counter(tuple(getattr(i, f) for f in fields) for i in split.parts[name])
            for key, number in numbers.items():
                exact = number * share
                assert math.floor(exact) <= counts[key] <= math.ceil(exact), (key, name)
    shuffled = list(items)
    order.shuffle(shuffled)
    assert split_records(shuffled, seed=seed) == split


@given(members=MEMBERS, seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_whole_papers_stay_whole_whatever_the_order(
    members: list[tuple[str, str | None]], seed: int, order: random.Random
) -> None:
    items = make(members)
    if len({item.paper_id or item.id for item in items}) < 3:
        return
    split = split_records(items, seed=seed, group_by="paper_id")
    placed = [item for part in split.parts.values() for item in part]
    assert sorted(placed) == sorted(items)
    assert all(split.parts.values())
    where = defaultdict(set)
    for name, part in split.parts.items():
        for item in part:
            where[item.paper_id].add(name)
    assert all(len(names) == 1 for paper, names in where.items() if paper is not None)
    shuffled = list(items)
    order.shuffle(shuffled)
    assert split_records(shuffled, seed=seed, group_by="paper_id") == split


def test_the_strata_say_what_the_parts_hold() -> None:
    items = papers(20)
    split = split_records(items, seed=1)
    counted = Counter(
        (item.task_type, item.paper_id, at)
        for at, part in enumerate(split.parts.values()) for item in part
    )  # fmt: skip
    for stratum in split.strata:
        assert stratum.counts == tuple(
            counted[stratum.task_type, stratum.paper_id, at] for at in range(3)
        )
    assert split.total == len(items)
    assert split.least_for_all == 7
    assert split.papers_exact
    assert split.trained_papers() == {item.paper_id for item in split.parts["train"]}


@pytest.mark.parametrize(
    ("group_by", "expected"), [(None, "5f5f21c5c24e6ba2"), ("paper_id", "1e2a970b197a0f4b")]
)
def test_a_split_is_the_same_on_every_machine(group_by: GroupBy | None, expected: str) -> None:
    """The digests were written down once; a version or platform that gives others is a bug."""
    items = [Item(f"{paper}-{n}", "abcd"[(paper * 3 + n * n) % 4], f"paper {paper}")
             for paper in range(30) for n in range(4 + paper * 7 % 13)]  # fmt: skip
    split = split_records(items, seed=DEFAULT_SEED, group_by=group_by)
    text = "\n".join(f"{name} {' '.join(part)}" for name, part in ids(split).items())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == expected


def test_another_seed_is_another_split() -> None:
    items = papers(30)
    tests = [frozenset(ids(split_records(items, seed=seed))["test"]) for seed in range(5)]
    assert all(len(a & b) < len(a) / 2 for a, b in permutations(tests, 2))
    whole = [
        frozenset(
            i.paper_id for i in split_records(items, seed=s, group_by="paper_id").parts["test"]
        )
        for s in range(5)
    ]
    assert len(set(whole)) == 5


def test_whole_papers_come_near_every_share() -> None:
    items = papers(60)
    for seed in range(3):
        split = split_records(items, seed=seed, group_by="paper_id")
        for at, (share, part) in enumerate(zip(USUAL, split.parts.values(), strict=True)):
            assert abs(len(part) - len(items) * share) <= 1
            for task_type in "abcd":
                goal = sum(item.task_type == task_type for item in items) * share
                found = sum(s.counts[at] for s in split.strata if s.task_type == task_type)
                assert abs(found - goal) <= 4


def test_papers_that_are_alike_are_divided_like_records() -> None:
    whole = {f"p{n}": {"a": 5} for n in range(100)}
    assert Counter(divide_papers(whole, USUAL, 3).values()) == {0: 70, 1: 15, 2: 15}


def test_no_split_is_left_without_papers() -> None:
    for sizes in permutations((1, 2, 500)):
        whole = {f"p{n}": {"a": size} for n, size in enumerate(sizes)}
        assert sorted(divide_papers(whole, USUAL, 1).values()) == [0, 1, 2]


def test_papers_of_one_name_and_record_do_not_meet() -> None:
    # A paper called as a record without one is still another group.
    items = [Item("x", "a", None), Item("y", "a", "x"), Item("z", "a", "record x"),
             Item("u", "a", "x"), Item("v", "a", None), Item("w", "a", "w")]  # fmt: skip
    split = split_records(items, seed=1, group_by="paper_id")
    [name] = [name for name, part in ids(split).items() if "y" in part]
    assert "u" in ids(split)[name]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_too_few_records_are_refused(count: int) -> None:
    items = [Item(f"q{n}", "a", f"p{n}") for n in range(count)]
    with pytest.raises(InputError, match="too few"):
        split_records(items, seed=1)


def test_few_records_are_enough() -> None:
    split = split_records([Item(f"q{n}", "a", None) for n in range(5)], seed=1)
    assert tuple(map(len, split.parts.values())) == (3, 1, 1)


def test_two_papers_cannot_be_kept_apart_in_three_splits() -> None:
    with pytest.raises(InputError, match="2 papers cannot be kept apart"):
        split_records([Item(f"q{n}", "a", f"p{n % 2}") for n in range(50)], seed=1,
                      group_by="paper_id")  # fmt: skip


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(InputError, match="The id 'q1' stands twice"):
        split_records([Item("q1", "a", None), Item("q1", "b", None)] * 5, seed=1)


def test_ranks_depend_on_every_name() -> None:
    places = [rank(1, "a", "b"), rank(2, "a", "b"), rank(1, "ab"), rank(1, "a", None, "b"),
              rank(1, "a", "", "b"), rank(1, "a1:b")]  # fmt: skip
    assert len(set(places)) == len(places)
    assert rank(1, "\u00e9").hex()[:16] == "f0739d2707a1135b"


def test_the_seed_is_the_one_given_or_the_environments_or_the_default() -> None:
    environment = {"FINETUNE_SPLIT_SEED": "7"}
    assert find_seed("5", environment) == Seed(5, "--seed")
    assert find_seed(0, environment) == Seed(0, "--seed")
    assert find_seed(None, environment) == Seed(7, "FINETUNE_SPLIT_SEED")
    assert find_seed(None, {}) == Seed(20251101, "the default")


@pytest.mark.parametrize(
    "odd", ["", " 7", "-1", "1e5", "7.0", "0x10", "1_000", "\u0667", "9" * 19, "9" * 30, "seed"]
)
def test_odd_seeds_are_refused(odd: str) -> None:
    with pytest.raises(InputError, match="is no whole number from 0 to"):
        find_seed(odd, {})
    with pytest.raises(InputError, match="FINETUNE_SPLIT_SEED"):
        find_seed(None, {"FINETUNE_SPLIT_SEED": odd})
