"""Pages that are there whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.dataset.collect.store import Store, part_path, state_path
from loragraft.errors import InputError, OutOfSpaceError, UnavailableError
from tests.support.collecting import rows

KEY = {"source": "here"}


def test_a_page_and_its_position_are_kept_together(out: Path) -> None:
    with Store(out, KEY) as store:
        added = store.add([{"id": 1}, {"id": "1"}, {"id": 2}], {"offset": 0, "cursor": "c1"})
        assert (added.records, added.taken) == (2, 3)
    with Store(out, KEY, resume=True) as store:
        assert (store.get("cursor"), store.number("offset"), store.records) == ("c1", 3, 2)
        store.add([{"id": 3}, {"id": 2}, {"id": 4}, {"id": 5}], {"offset": 3}, limit=4)
        assert store.number("offset") == 6
        store.finish("done")
    assert rows(out) == [{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}]
    assert not part_path(out).exists()
    with Store(out, KEY, resume=True) as store:
        assert store.ended == "done"
        with pytest.raises(AssertionError, match="takes no more records"):
            store.add([{"id": 9}], {})
        store.reopen()
        assert not out.exists()
        store.add([{"id": 2}, {"id": 9}], {})
        store.finish("again")
    assert rows(out)[-1] == {"id": 9}


def test_bytes_that_do_not_count_are_cut_off(out: Path) -> None:
    with Store(out, KEY) as store:
        store.add([{"id": 1}], {"offset": 0})
    with part_path(out).open("ab") as file:
        file.write(b'{"id": 2}\n{"id": 3, "te')
    with Store(out, KEY, resume=True) as store:
        store.add([{"id": 4}], {"offset": 1})
        store.finish("done")
    assert rows(out) == [{"id": 1}, {"id": 4}]


@pytest.mark.parametrize("data", [b"", b'{"id": 7}\n', b'{"id": 1'])
def test_records_that_were_changed_are_told(out: Path, data: bytes) -> None:
    with Store(out, KEY) as store:
        store.add([{"id": 1}], {})
    part_path(out).write_bytes(data)
    with pytest.raises(InputError, match="was changed: it no longer holds the 10 bytes"):
        Store(out, KEY, resume=True)
    with Store(out, KEY, replace=True) as store:
        assert store.records == 0


def test_another_collection_is_told_apart(out: Path) -> None:
    Store(out, KEY).close()
    with pytest.raises(InputError, match="source here there, elsewhere now"):
        Store(out, {"source": "elsewhere"}, resume=True)


@pytest.mark.parametrize("data", [b"no database at all" * 99, b"SQLite format 3\0" + b"\1" * 999])
def test_a_damaged_state_is_told(out: Path, data: bytes) -> None:
    state_path(out).write_bytes(data)
    with pytest.raises((InputError, UnavailableError), match=r"raw\.jsonl\.collect"):
        Store(out, KEY, resume=True)
    with Store(out, KEY, replace=True) as store:
        store.add([{"id": 1}], {})


@pytest.mark.parametrize(
    "change",
    ["DROP TABLE seen", "UPDATE state SET value = 'many' WHERE name IN ('bytes', 'records')"],
)
def test_a_state_that_was_changed_by_hand_is_told(out: Path, change: str) -> None:
    with Store(out, KEY) as store:
        store.add([{"id": 1}], {})
    base = sqlite3.connect(state_path(out))
    with base:
        base.execute(change)
    base.close()
    with (
        pytest.raises((InputError, UnavailableError), match=r"raw\.jsonl\.collect"),
        Store(out, KEY, resume=True) as store,
    ):
        store.add([{"id": 2}], {})


def test_a_state_without_its_part_is_told(out: Path) -> None:
    Store(out, KEY).close()
    part_path(out).unlink()
    with pytest.raises(InputError, match="is gone"):
        Store(out, KEY, resume=True)


def test_a_begin_that_was_killed_begins_again(out: Path) -> None:
    part_path(out).write_bytes(b"half a li")
    sqlite3.connect(state_path(out)).execute("CREATE TABLE seen (x)")
    with Store(out, KEY, resume=True) as store:
        store.add([{"id": 1}], {})
        store.finish("done")
    assert rows(out) == [{"id": 1}]


def test_a_full_disk_is_told_and_the_pages_before_are_kept(out: Path) -> None:
    with Store(out, KEY) as store:
        store.add([{"id": 1}], {"offset": 0})
        store._db.execute("PRAGMA max_page_count = 1")  # SQLite takes no fewer than it has
        with pytest.raises(OutOfSpaceError, match="--resume"):
            store.add([{"id": f"{n}" * 200} for n in range(200)], {"offset": 1})
    with Store(out, KEY, resume=True) as store:
        assert (store.records, store.number("offset")) == (1, 1)
        store.finish("done")
    assert rows(out) == [{"id": 1}]


ITEM = st.fixed_dictionaries({"id": st.integers(0, 9)}, optional={"text": st.text(max_size=5)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.lists(ITEM | st.just({}) | st.just({"demo": True}), max_size=20),
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.none() | st.integers(1, 8),
)
def test_pages_of_any_size_and_any_number_of_interruptions_end_the_same(
    tmp_path: Path, items: list[dict[str, Any]], sizes: list[int], limit: int | None
) -> None:
    out = tmp_path / "raw.jsonl"
    out.unlink(missing_ok=True)
    Store(out, KEY, replace=True).close()
    for number in range(100):
        with Store(out, KEY, resume=True) as store:
            offset = store.number("offset")
            size = sizes[number % len(sizes)]
            if offset >= len(items) or (limit and store.records >= limit):
                store.finish("done")
                break
            store.add(items[offset : offset + size], {"offset": offset}, limit=limit)
    first = {item["id"]: item for item in reversed(items) if "id" in item}
    order = dict.fromkeys(item["id"] for item in items if "id" in item)
    expected = [first[one] for one in order][:limit]
    assert rows(out) == json.loads(json.dumps(expected))
