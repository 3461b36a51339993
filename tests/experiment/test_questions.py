"""The same questions for every experiment: chosen by the seed, nested, from whole files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact.jsonl import write_jsonl
from loragraft.dataset.records import parse_record
from loragraft.errors import InputError
from loragraft.experiment.questions import QuestionFile, choose
from tests.support.series import embedding_values, loaded, pair, question, write_config

RECORDS = [parse_record(pair(number)) for number in range(40)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "science" / "splits"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5), st.randoms())
def test_a_smaller_choice_is_part_of_a_larger_one_whatever_the_order(
    one: int, other: int, seed: int, chance: object
) -> None:
    small, large = (set(r.id for r in choose(RECORDS, n, seed)) for n in sorted((one, other)))
    assert small <= large
    mixed = RECORDS.copy()
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert {record.id for record in choose(mixed, max(one, other), seed)} == large


def test_another_seed_chooses_others_and_the_order_stays() -> None:
    first, second = (choose(RECORDS, 10, seed) for seed in (1, 2))
    assert first != second
    assert first == sorted(first, key=lambda record: record.id)


def test_the_test_part_of_a_split_is_read_and_named(tmp_path: Path) -> None:
    data = {"tag": "science", "splits": str(EXAMPLE)}
    values = embedding_values(tmp_path, data=data)
    values["experiments"] = {"one": {"task": "qa", "engine": {"kind": "llama", "model": "x"}}}
    config = loaded(write_config(tmp_path, {**values, "baseline": "one", "aliases": {}}))
    found = QuestionFile(config).of("qa")
    assert (len(found), found.source["part"], found.source["split"]) == (90, "test", "science")
    limited = QuestionFile(loaded(tmp_path / "series.yaml", "data.limit=5")).of("qa")
    assert len(limited) == 5
    assert limited.digest != found.digest


def test_kinds_are_told_apart_and_a_missing_one_is_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", [pair(1), question(2)])
    config = loaded(write_config(tmp_path, embedding_values(tmp_path)))
    file = QuestionFile(config)
    assert [record.id for record in file.of("embedding").records] == ["pair-001"]
    assert [record.id for record in file.of("qa").records] == ["q-002"]
    with pytest.raises(InputError, match="no records of the kind score; it has embedding, qa"):
        file.of("score")


def test_one_id_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_jsonl(tmp_path / f"{name}.jsonl", [pair(1)])
    data = {"files": ["a.jsonl", "b.jsonl"]}
    config = loaded(write_config(tmp_path, embedding_values(tmp_path, data=data)))
    with pytest.raises(InputError, match=r"b\.jsonl has the id 'pair-001', as .*a\.jsonl"):
        QuestionFile(config)


def test_a_changed_split_is_refused(tmp_path: Path) -> None:
    for path in EXAMPLE.glob("science_[tm]*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    test = tmp_path / "science_test.jsonl"
    test.write_bytes(test.read_bytes().replace(b"yes", b"no", 1))
    data = {"tag": "science", "splits": str(tmp_path)}
    config = loaded(write_config(tmp_path, embedding_values(tmp_path, data=data)))
    with pytest.raises(InputError, match="is not the file that its manifest names"):
        QuestionFile(config)
