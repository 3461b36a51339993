"""Rows of training data: records and conversations, from splits and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.progress import Silent
from loragraft.errors import InputError
from loragraft.training.causal_lm import read_causal_data
from loragraft.training.config import DataConfig, PromptConfig, TrainConfig
from loragraft.training.conversations import Conversation, Read, read_conversations
from loragraft.training.rows import Part, read_rows
from tests.support.talking import TALKING, save_tokenizer
from tests.training.tokenizers import family_tokenizer

SPLITS = Path(__file__).parents[2] / "examples/science/splits"
USER = {"role": "user", "content": "the fox"}
ASSISTANT = {"role": "assistant", "content": "lazy dogs"}


def write(path: Path, *rows: Any) -> Path:  # noqa: ANN401
    """Write rows, texts as they are."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path, part: Part = "train", **prompt: Any) -> tuple[list[Conversation], Read]:  # noqa: ANN401
    """Read a file's conversations."""
    config = TrainConfig(
        experiment_id="e", base="b", data=DataConfig(train=(path,)), prompt=PromptConfig(**prompt)
    )
    return read_conversations(config, part, family_tokenizer("qwen2"))


def test_the_test_file_of_a_split_is_not_needed(tmp_path: Path) -> None:
    for path in SPLITS.glob("science_[!b]*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "science_test.jsonl").unlink()
    data = DataConfig(tag="science", splits=tmp_path)
    parts: tuple[Part, ...] = ("train", "validation")
    assert [len(read_rows(data, part, 1).rows) for part in parts] == [420, 90]
    assert read_rows(data, "train", 1).split_seed == 20251101
    (tmp_path / "science_val.jsonl").write_text("changed\n")
    with pytest.raises(InputError, match="is not the file that its manifest names"):
        read_rows(data, "validation", 1)


def test_some_are_chosen_by_the_seed() -> None:
    whole = read_rows(DataConfig(tag="science", splits=SPLITS), "train", 1)
    some = [
        read_rows(DataConfig(tag="science", splits=SPLITS, max_train=most), "train", seed)
        for most, seed in ((50, 1), (50, 1), (60, 1), (50, 2))
    ]
    ids = [[row.id for row in one.rows] for one in some]
    assert ids[0] == ids[1] != ids[3]
    assert set(ids[0]) < set(ids[2])
    assert ids[0] == [row.id for row in whole.rows if row.id in ids[0]]
    assert (some[0].unused, len(ids[0])) == (370, 50)


def test_there_may_be_no_validation(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"messages": [USER, ASSISTANT]})
    assert read(path, "validation") == ([], Read())


def test_conversations_and_records_stand_together(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"messages": [USER, ASSISTANT, USER], "id": "m", "task_type": "chat"},
        {"kind": "reply", "id": "r", "task_type": "joke", "prompt": "p", "reply": "s"},
        {"kind": "score", "id": "s", "task_type": "rule", "label": 0.25,
         "fields": {"rule": "No ads.", "positive_examples": ["a", "b"]}},
        {"kind": "embedding", "id": "e", "task_type": "pair", "a": "a", "b": "b", "label": 1},
    )  # fmt: skip
    conversations, found = read(path)
    assert [one.id for one in conversations] == ["m", "r", "s"]
    assert [one.answer for one in conversations] == ["lazy dogs", "s", "0.25"]
    assert {one.mode for one in conversations} == {"conversation"}
    assert conversations[2].question.endswith("\n\nAnswer with one number from 0 to 1.")
    assert "No ads." in conversations[2].question
    assert found.task_types == {"chat": 1, "joke": 1, "rule": 1}
    assert found.left_out == {"rows left out: the kind embedding is for task: embedding": 1}
    assert found.to_json()["files"][0]["rows"] == 4


def test_rows_without_ids_are_told_apart_by_content(tmp_path: Path) -> None:
    other = {"messages": [USER, {"role": "assistant", "content": "no"}]}
    same = {"messages": [USER, ASSISTANT]}
    first = [one.id for one in read(write(tmp_path / "a.jsonl", same, other, same))[0]]
    again = [one.id for one in read(write(tmp_path / "b.jsonl", other, same))[0]]
    assert again == [first[1], first[0]]
    assert first[2] == f"{first[0]}-2"


def test_turns_of_no_weight_are_only_read(tmp_path: Path) -> None:
    turns = [USER, {**ASSISTANT, "weight": 0}, USER, {**ASSISTANT, "weight": 1}]
    (one,), _ = read(write(tmp_path / "a.jsonl", {"messages": turns}))
    assert one.learnt == (3,)
    assert len(one.messages) == 4


def test_a_system_message_is_put_before_those_that_have_none(tmp_path: Path) -> None:
    own = {"role": "system", "content": "mine"}
    path = write(
        tmp_path / "a.jsonl", {"messages": [USER, ASSISTANT]}, {"messages": [own, USER, ASSISTANT]}
    )
    first, second = read(path, system="yours")[0]
    assert [first.messages[0]["content"], second.messages[0]["content"]] == ["yours", "mine"]
    assert first.learnt == second.learnt == (2,)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("{", "line 2 is no JSON"),
        ({"text": "a"}, r"line 2: The row has the fields \['text'\]; expected a task record"),
        ({"kind": "poem"}, "line 2: The field \"kind\" is 'poem'"),
        ({"messages": []}, 'line 2: The field "messages" is no list of turns'),
        ({"messages": "a"}, 'line 2: The field "messages" is no list of turns'),
        ({"messages": [USER]}, "line 2: The conversation has no turn of the assistant"),
        ({"messages": [{**ASSISTANT, "weight": 0}]}, "has no turn of the assistant"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "line 2: Turn 1 is .* expected an obj"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "line 2: Turn 2 is "),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "Turn 2, .* is blank"),
        ({"messages": [USER, {**ASSISTANT, "weight": 2}]}, "Turn 2 has the weight 2; expected"),
        ({"messages": [USER, ASSISTANT], "id": ["a"]}, 'The field "id" is '),
        ({"messages": [USER, ASSISTANT], "id": "x"}, "line 2 has the id 'x', as .*, line 1 has"),
        ({"messages": [USER, ASSISTANT], "task_type": 1}, 'The field "task_type" is 1'),
    ],
)
def test_other_rows_are_refused_with_their_line(tmp_path: Path, row: Any, expected: str) -> None:  # noqa: ANN401
    path = write(tmp_path / "a.jsonl", {"messages": [USER, ASSISTANT], "id": "x"}, row)
    with pytest.raises(InputError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no rows"):
        read(write(tmp_path / "a.jsonl", ""))
    pair = {"kind": "embedding", "id": "e", "task_type": "p", "a": "a", "b": "b", "label": 1}
    with pytest.raises(InputError, match=r"a\.jsonl: no row is left to learn from \(1 rows"):
        read(write(tmp_path / "a.jsonl", pair))


def test_validation_that_stands_in_train_is_told(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, TALKING["mistral"])
    rows = [{"messages": [USER, {"role": "assistant", "content": f"dogs {n}"}]} for n in range(5)]
    train = write(tmp_path / "train.jsonl", *rows[:4])
    for name, chosen, expected in (("a", rows[3:], 1), ("b", rows[4:], 0)):
        data = DataConfig(train=(train,), validation=write(tmp_path / f"{name}.jsonl", *chosen))
        config = TrainConfig(experiment_id="e", base="b", data=data)
        notes = read_causal_data(config, tmp_path, Silent()).notes
        assert [note for note in notes if "1 of 2 examples stand in train" in note] == list(notes)
        assert len(notes) == expected
