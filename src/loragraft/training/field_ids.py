"""The fields of a record as a classifier's token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.errors import CheckpointError, InputError
from loragraft.training.scoring import Fields, field_texts

_ANY = "a"
"""A text of which the tokenizer shows what it puts around texts."""
_MANY = 1 << 20
"""A tokenizer without a limit says something like 10^30."""
_OFFSET_FAMILIES = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
"""Their positions begin behind the padding token's number."""


@dataclass(frozen=True)
class FieldIds:
    """Ids of one record.

    Attributes:
        ids: With the tokens that stand around and between the fields.
        cut: Tokens of the fields that had no room.
    """

    ids: tuple[int, ...]
    cut: int


class FieldEncoder:
    """Turns fields into ids: ``[CLS] rule: … [SEP] body: … [SEP]``, as the base's own tokens are.

    Between fields stands the separator where a tokenizer has one, else a line break. Control tokens
    in the fields' own words are text like any other.
    """

    def __init__(self, tokenizer: Any, config: Any, longest: int) -> None:  # noqa: ANN401
        """Look at what a tokenizer puts around a text.

        Args:
            tokenizer: The base's.
            config: The base's configuration, for its positions.
            longest: Most tokens of a record; the model's own limit where that is lower.

        Raises:
            CheckpointError: If the tokenizer does not keep a text's tokens together.
            InputError: If there is no room for a text.
        """
        self._tokenizer = tokenizer
        inside = self._plain(_ANY)
        whole = [int(i) for i in tokenizer(_ANY)["input_ids"]]
        start = _find(inside, whole)
        if start is None:
            raise CheckpointError(
                "The base's tokenizer changes a text where it puts special tokens around it; "
                "expected them before and after. Take another base."
            )
        self._before, self._after = whole[:start], whole[start + len(inside) :]
        separator = tokenizer.sep_token_id
        self._between = self._plain("\n") if separator is None else [int(separator)]
        self.longest = min(longest, *_limits(tokenizer, config))
        if self.longest <= len(self._before) + len(self._after):
            raise InputError(
                f"The longest record may have {self.longest} tokens, which leaves none for its "
                "fields. Raise optimiser.max_length."
            )

    def _plain(self, text: str) -> list[int]:
        found = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return [int(i) for i in found["input_ids"]]

    def encode(self, fields: Fields | str) -> FieldIds:
        """Return a record's ids; what has no room is cut from the ends of its longest fields."""
        texts = [fields] if isinstance(fields, str) else field_texts(fields)
        parts = [self._plain(text) for text in texts]
        around = len(self._before) + len(self._after) + len(self._between) * (len(parts) - 1)
        lengths = [len(part) for part in parts]
        kept = share_room(lengths, max(self.longest - around, 0))
        ids = list(self._before)
        for number, (part, length) in enumerate(zip(parts, kept, strict=True)):
            ids += [*(self._between if number else ()), *part[:length]]
        ids = [*ids[: self.longest - len(self._after)], *self._after]
        return FieldIds(tuple(ids), sum(lengths) - sum(kept))


def share_room(lengths: Sequence[int], room: int) -> list[int]:
    """Return how much of each part is kept so that all fit: the longest give way first.

    >>> share_room([10, 300, 50], 100)
    [10, 45, 45]
    """
    kept = [0] * len(lengths)
    left = room
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    for place, index in enumerate(order):
        kept[index] = min(lengths[index], left // (len(order) - place))
        left -= kept[index]
    return kept


def _find(inside: Sequence[int], whole: Sequence[int]) -> int | None:
    """Return where one list of ids stands in another."""
    starts = range(len(whole) - len(inside) + 1)
    return next((s for s in starts if list(whole[s : s + len(inside)]) == list(inside)), None)


def _limits(tokenizer: Any, config: Any) -> list[int]:  # noqa: ANN401
    """Return how many tokens tokenizer and model read at most, as far as they say."""
    named = tokenizer.model_max_length
    limits = [int(named)] if 0 < named < _MANY else []
    positions = getattr(config, "max_position_embeddings", None)
    absolute = getattr(config, "position_biased_input", True)  # DeBERTa-v3 has no such table
    if isinstance(positions, int) and positions > 0 and absolute:
        offset = (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_FAMILIES else 0
        limits.append(positions - offset)
    return limits or [_MANY]
