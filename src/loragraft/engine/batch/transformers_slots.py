"""A batch of a fixed shape in transformers: conversations in slots, each where it would be alone.

A prompt is read alone, in pieces of a fixed size, and its keys and values are copied to a slot.
Tokens are then written for all slots at once: always so many rows, always over so many positions,
what lies beyond a conversation masked. So nothing that a row computes with has a shape, or a
position in memory, that depends on who else is there; a slot that gets free is filled again.

Import it where transformers may be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache

from loragraft.engine.transformers import TransformersEngine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READ_AT_ONCE = 1024
"""Tokens of a prompt in one forward pass: what bounds the memory of long ones."""
SLIDING = "sliding_attention"


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt that a model has read.

    Attributes:
        keys: A layer's, shape ``[1, heads, tokens, size]``.
        values: Likewise.
        length: Tokens.
        logits: Of the next token, shape ``[vocabulary]``.
    """

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    length: int
    logits: NDArray[np.float32]


def read_prompt(engine: TransformersEngine, ids: Sequence[int]) -> ReadPrompt:
    """Read a prompt, at least one token, in pieces that begin at fixed distances."""
    device = next(engine.model.parameters()).device
    cache: Any = DynamicCache()
    with torch.no_grad():
        for start in range(0, len(ids), READ_AT_ONCE):
            piece = torch.tensor([list(ids[start : start + READ_AT_ONCE])], device=device)
            result = engine.model(
                input_ids=piece, past_key_values=cache, use_cache=True, **engine.only_last(1)
            )
        logits = result.logits[0, -1].float().cpu().numpy()
    layers = cache.layers
    keys, values = (tuple(getattr(layer, name) for layer in layers) for name in ("keys", "values"))
    return ReadPrompt(keys, values, len(ids), logits)


class SlotCache(DynamicCache):
    """Keys and values of all slots, at full length from the beginning.

    Attributes:
        positions: Where each row's next token goes, shape ``[rows]``.
    """

    def __init__(self, like: ReadPrompt, rows: int, capacity: int) -> None:
        """Make room for so many rows of so many tokens."""
        super().__init__()
        device = like.keys[0].device
        self.capacity = capacity
        self.positions = torch.zeros(rows, dtype=torch.long, device=device)
        self._rows = torch.arange(rows, device=device)
        self._keys = [_room(tensor, rows, capacity) for tensor in like.keys]
        self._values = [_room(tensor, rows, capacity) for tensor in like.values]

    def put(self, row: int, prompt: ReadPrompt) -> None:
        """Copy a prompt into a row, in the place of what was there."""
        for rooms, tensors in ((self._keys, prompt.keys), (self._values, prompt.values)):
            for room, tensor in zip(rooms, tensors, strict=True):
                room[row].zero_()
                room[row, :, : prompt.length] = tensor[0]
        self.positions[row] = prompt.length

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *more: object,
        **others: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write each row's new key and value to its position; return all."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[self._rows, :, self.positions] = key_states[:, :, 0]
        values[self._rows, :, self.positions] = value_states[:, :, 0]
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many positions there are before the token that is written."""
        return self.capacity - 1

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return length and offset; masks are given whole, so that nobody should ask."""
        return self.capacity, 0


def _room(like: torch.Tensor, rows: int, capacity: int) -> torch.Tensor:
    return like.new_zeros((rows, like.shape[1], capacity, like.shape[3]))


def slot_bytes(prompt: ReadPrompt) -> int:
    """Return the bytes that one position of one slot takes, all layers together."""
    tensors = (*prompt.keys, *prompt.values)
    return sum(t.shape[1] * t.shape[3] * t.element_size() for t in tensors)


class Slots:
    """Slots and the model that writes into them."""

    def __init__(
        self, engine: TransformersEngine, like: ReadPrompt, *, width: int, capacity: int
    ) -> None:
        """Make room; ``like`` is any prompt that the model has read."""
        self._engine, self._width = engine, width
        with torch.no_grad():
            self._cache = SlotCache(like, width, capacity)
        self._index = torch.arange(capacity, device=self._cache.positions.device)
        self._windows = sliding_windows(engine.model)
        self._busy = [False] * width

    def put(self, row: int, prompt: ReadPrompt) -> None:
        """Give a row to a prompt."""
        with torch.no_grad():
            self._cache.put(row, prompt)
        self._busy[row] = True

    def free(self, row: int) -> None:
        """Let a row idle: it goes on writing to its beginning, and nobody looks."""
        self._cache.positions[row] = 0
        self._busy[row] = False

    def step(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Give each row its token; return the logits of the next, shape ``[rows, vocabulary]``."""
        cache, device = self._cache, self._cache.positions.device
        with torch.no_grad():
            result = self._engine.model(
                input_ids=torch.tensor([[token] for token in tokens], device=device),
                position_ids=cache.positions[:, None],
                attention_mask=self._mask(),
                past_key_values=cache,
                use_cache=True,
                **self._engine.only_last(1),
            )
            cache.positions += torch.tensor(self._busy, device=device)
            logits: NDArray[np.float32] = result.logits[:, -1].float().cpu().numpy()
        return logits

    def _mask(self) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return what is added to attention's scores: nothing, or the least there is."""
        last = self._cache.positions[:, None]
        whole = self._added(self._index <= last)
        if self._windows is None:
            return whole
        window, mixed = self._windows
        near = self._added((self._index <= last) & (self._index > last - window))
        return {"full_attention": whole, SLIDING: near} if mixed else near

    def _added(self, seen: torch.Tensor) -> torch.Tensor:
        kind = self._engine.model.dtype
        none = torch.zeros(seen.shape, dtype=kind, device=seen.device)
        return none.masked_fill(~seen, torch.finfo(kind).min)[:, None, None, :]


def sliding_windows(model: Any) -> tuple[int, bool] | None:  # noqa: ANN401
    """Return how far layers look back, and whether others look back all the way; None for all."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not isinstance(window, int) or (kinds is not None and SLIDING not in kinds):
        return None
    return window, kinds is not None
