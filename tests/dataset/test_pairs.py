"""Replies find their posts, in bounded memory and after any interruption."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.artifact.jsonl import Broken, read_jsonl, scan_jsonl
from loragraft.dataset import pairs
from loragraft.dataset.pairs import Joined, Pairing, Posts
from loragraft.errors import InputError, OutOfSpaceError, UnavailableError


def post(number: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"id": str(number), "text": f"Post {number}, höher.", "likeCount": number, **more}


def reply(number: int, to: int | str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return post(number, inReplyToId=str(to), **more)


def write(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def joined(raw: Path, index: Path, pairing: Pairing | None = None) -> list[Joined]:
    with Posts(index, raw, key="k", pairing=pairing) as posts:
        posts.fill(scan_jsonl(raw, start=posts.position, number=posts.lines))
        lines = scan_jsonl(raw)
        return [posts.join(line) for line in lines if not isinstance(line, Broken)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    rows = [
        reply(10, 1),
        post(1),
        "{broken",
        reply(11, 1),
        reply(12, 99),
        reply(13, 10),
        reply(11, 1),
        {"text": "no id"},
        reply(14, 14),
    ]
    return write(tmp_path / "raw.jsonl", rows)


def test_replies_find_their_posts_wherever_these_stand(raw: Path, tmp_path: Path) -> None:
    found = joined(raw, tmp_path / "posts.sqlite")
    assert [item.reason for item in found] == [
        "",
        pairs.NO_REPLY,
        "",
        pairs.NO_POST,
        "",
        pairs.AGAIN,
        pairs.NO_ID,
        pairs.ITSELF,
    ]
    row = found[0].row
    assert row is not None
    assert (row["post"]["id"], row["reply"]["id"]) == ("1", "10")
    assert row["post"]["text"] == "Post 1, höher."
    assert row["post"]["likes"] == 1


def test_first_level_leaves_out_replies_to_replies(raw: Path, tmp_path: Path) -> None:
    found = joined(raw, tmp_path / "posts.sqlite", Pairing(first_level=True))
    assert found[4] == Joined(None, pairs.DEEPER)


def test_rows_that_are_pairs_already_stay_and_hold_posts_for_others(tmp_path: Path) -> None:
    rows = [{"post": post(1), "reply": reply(2, 1)}, reply(3, 1), reply(4, 2)]
    found = joined(write(tmp_path / "raw.jsonl", rows), tmp_path / "posts.sqlite")
    ids = [(item.row["post"]["id"], item.row["reply"]["id"]) for item in found if item.row]
    assert ids == [("1", "2"), ("1", "3"), ("2", "4")]


def test_of_one_id_the_first_counts(tmp_path: Path) -> None:
    rows = [post(1, likeCount=5), post(1, likeCount=900), reply(2, 1)]
    found = joined(write(tmp_path / "raw.jsonl", rows), tmp_path / "posts.sqlite")
    assert found[2].row is not None
    assert found[2].row["post"]["likes"] == 5


def test_filling_goes_on_where_it_was_broken_off(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "_LINES", 2)
    whole = joined(raw, tmp_path / "whole.sqlite")
    lines = list(scan_jsonl(raw))

    def broken_off(count: int) -> Iterator[Any]:
        yield from lines[:count]
        raise KeyboardInterrupt

    for count in range(len(lines)):
        index = tmp_path / f"{count}.sqlite"
        with Posts(index, raw, key="k") as posts, pytest.raises(KeyboardInterrupt):
            posts.fill(broken_off(count))
        with Posts(index, raw, key="k") as posts:
            assert posts.position == (lines[count - 1].stop if count else 0)
        assert joined(raw, index) == whole


def test_another_key_or_pairing_or_a_broken_file_begins_anew(raw: Path, tmp_path: Path) -> None:
    index = tmp_path / "posts.sqlite"
    joined(raw, index)
    with Posts(index, raw, key="k") as posts:
        assert posts.position > 0
        assert len(posts) == 6
    with Posts(index, raw, key="other") as posts:
        assert posts.position == 0
    joined(raw, index)
    with Posts(index, raw, key="k", pairing=Pairing(first_level=True)) as posts:
        assert posts.position == 0
    index.write_bytes(b"no database" * 500)
    assert len(joined(raw, index)) == 8


def test_a_raw_file_that_changed_is_told(raw: Path, tmp_path: Path) -> None:
    with Posts(tmp_path / "posts.sqlite", raw, key="k") as posts:
        posts.fill(scan_jsonl(raw))
        line = next(read_jsonl(raw))
        raw.write_bytes(b" " * raw.stat().st_size)
        with pytest.raises(InputError, match="changed while it was read"):
            posts.join(line)


def test_a_full_or_broken_disk_is_told(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be read or written"):
        Posts(tmp_path / "none" / "posts.sqlite", raw, key="k")
    with Posts(tmp_path / "posts.sqlite", raw, key="k") as posts:
        posts._db.execute("PRAGMA max_page_count = 1")  # SQLite takes no fewer than it has
        rows = write(tmp_path / "many.jsonl", [post(number) for number in range(4000)])
        with pytest.raises(OutOfSpaceError, match="what is done is kept"):
            posts.fill(read_jsonl(rows))
    with pytest.raises(InputError, match="does not exist"):
        Posts(tmp_path / "posts.sqlite", tmp_path / "missing.jsonl", key="k")


def test_memory_holds_few_posts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_KEPT", 3)
    rows = [*(post(n) for n in range(20)), *(reply(100 + n, n % 20) for n in range(60))]
    raw = write(tmp_path / "raw.jsonl", rows)
    with Posts(tmp_path / "posts.sqlite", raw, key="k") as posts:
        posts.fill(scan_jsonl(raw))
        found = [posts.join(line) for line in read_jsonl(raw)]
        assert len(posts._recent) <= 3
    assert [item.row["post"]["id"] for item in found if item.row] == [
        str(n % 20) for n in range(60)
    ]


def test_the_file_it_keeps_is_small(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.jsonl", [post(n, text="x" * 2000) for n in range(500)])
    index = tmp_path / "posts.sqlite"
    joined(raw, index)
    assert index.stat().st_size < raw.stat().st_size / 10
    assert sqlite3.connect(index).execute("SELECT count(*) FROM tweet").fetchone() == (500,)


ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.none() | st.integers(0, 12), st.booleans()), max_size=25
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(ROWS)
def test_pairs_are_those_of_a_join_in_memory(
    tmp_path: Path, rows: list[tuple[int, int | None, bool]]
) -> None:
    made = [
        post(number, **({} if to is None else {"inReplyToId": to if text else str(to)}))
        for number, to, text in rows
    ]
    raw = write(tmp_path / "raw.jsonl", made)
    (tmp_path / "posts.sqlite").unlink(missing_ok=True)
    first: dict[int, int] = {}
    for place, (number, _, _) in enumerate(rows):
        first.setdefault(number, place)
    expected = [
        (str(to), str(number))
        for place, (number, to, _) in enumerate(rows)
        if to is not None and to in first and to != number and first[number] == place
    ]
    found = joined(raw, tmp_path / "posts.sqlite")
    ids = [(item.row["post"]["id"], item.row["reply"]["id"]) for item in found if item.row]
    assert ids == expected
