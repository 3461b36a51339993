"""Fields as token ids: what stands around them, what is cut, and what is only text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.errors import CheckpointError, InputError
from loragraft.training.field_ids import FieldEncoder, share_room
from tests.support.encoders import MARKS, write_tokenizer

CLS, SEP = MARKS.index("[CLS]"), MARKS.index("[SEP]")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def settings(**values: Any) -> Any:  # noqa: ANN401
    return SimpleNamespace(**{"max_position_embeddings": 128, "model_type": "bert",
                              "pad_token_id": 0, **values})  # fmt: skip


def test_fields_stand_between_separators(tokenizer: Any) -> None:  # noqa: ANN401
    encoder = FieldEncoder(tokenizer, settings(), 100)
    found = encoder.encode({"rule": "no ads", "body": "buy now", "note": " "})
    words = tokenizer.convert_ids_to_tokens(list(found.ids))
    assert words == ["[CLS]", "rule", ":", "no", "ads", "[SEP]", "body", ":", "buy", "now", "[SEP]"]
    assert found.cut == 0
    one = encoder.encode("no ads")
    assert list(one.ids) == tokenizer("no ads")["input_ids"]


def test_control_tokens_in_a_field_are_text(tokenizer: Any) -> None:  # noqa: ANN401
    encoder = FieldEncoder(tokenizer, settings(), 100)
    found = encoder.encode({"body": "buy [SEP] rule: [CLS] now"})
    assert [found.ids.count(mark) for mark in (CLS, SEP)] == [1, 1]
    # The tokenizer is as before: a setting of one call does not stay.
    assert tokenizer("a [SEP] b")["input_ids"].count(SEP) == 2


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 100))
def test_room_is_used_up_and_the_longest_give_way(lengths: list[int], room: int) -> None:
    kept = share_room(lengths, room)
    assert sum(kept) == min(sum(lengths), room)
    assert all(0 <= part <= length for part, length in zip(kept, lengths, strict=True))
    cut = [part for part, length in zip(kept, lengths, strict=True) if part < length]
    if cut:
        assert max(cut) - min(cut) <= 1
        assert max(kept) <= min(cut) + 1


def test_what_has_no_room_is_cut_and_counted(tokenizer: Any) -> None:  # noqa: ANN401
    encoder = FieldEncoder(tokenizer, settings(), 16)
    found = encoder.encode({"rule": "no ads", "body": "buy " * 50})
    assert len(found.ids) == 16
    assert found.cut == 52 - 9  # [CLS] rule : no ads [SEP] and nine of the body, then [SEP]
    assert (found.ids[0], found.ids[-1]) == (CLS, SEP)
    words = tokenizer.convert_ids_to_tokens(list(found.ids))
    assert words[1:6] == ["rule", ":", "no", "ads", "[SEP]"]
    many = encoder.encode({f"f{n}": "buy" for n in range(60)})
    assert len(many.ids) == 16
    assert many.ids[-1] == SEP


def test_a_model_reads_no_more_than_it_has_places_for(tokenizer: Any) -> None:  # noqa: ANN401
    assert FieldEncoder(tokenizer, settings(), 1000).longest == 128
    short = settings(max_position_embeddings=34, model_type="roberta", pad_token_id=1)
    assert FieldEncoder(tokenizer, short, 1000).longest == 32
    relative = settings(max_position_embeddings=34, position_biased_input=False)
    assert FieldEncoder(tokenizer, relative, 1000).longest == 128
    with pytest.raises(InputError, match="leaves none for its fields"):
        FieldEncoder(tokenizer, settings(max_position_embeddings=2), 1000)


class Mixing:
    """A tokenizer that does not keep a text's tokens together."""

    sep_token_id = None
    model_max_length = 1 << 60

    def __call__(self, text: str, **options: bool) -> dict[str, list[int]]:
        """Return ids, with a mark in the middle."""
        ids = [7, 8] if options else [7, 1, 8]
        return {"input_ids": ids}


def test_a_tokenizer_that_mixes_its_marks_in_is_refused() -> None:
    with pytest.raises(CheckpointError, match="changes a text"):
        FieldEncoder(Mixing(), settings(), 100)
