"""The least that answers many prompts in batches of llama.cpp: ids in, the number of ids out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np

BATCH = 512
"""Tokens of a prompt at once: llama.cpp's own default."""


class BareLoop:
    """One context of many sequences, greedy, refilled as answers end."""

    def __init__(self, gguf: Path, context: int, width: int, threads: int) -> None:
        """Load model and context."""
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(
            os.fsencode(gguf), llama.llama_model_default_params()
        )
        parameters: Any = llama.llama_context_default_params()
        parameters.n_ctx, parameters.n_seq_max = context * width, width
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.kv_unified = False
        self.context = llama.llama_init_from_model(self.model, parameters)
        self.memory = llama.llama_get_memory(self.context)
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.batch: Any = llama.llama_batch_init(BATCH, 0, 1)
        self.width = width

    def _decode(self, rows: Sequence[tuple[int, int, int, bool]]) -> Any:  # noqa: ANN401
        batch = self.batch
        batch.n_tokens = len(rows)
        for index, (token, position, slot, shown) in enumerate(rows):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, slot
            batch.logits[index] = shown
        if llama.llama_decode(self.context, batch):
            raise SystemExit("llama_decode failed")
        shown = sum(row[3] for row in rows)
        pointer = llama.llama_get_logits(self.context)
        return np.ctypeslib.as_array(pointer, (shown * self.vocabulary,)).reshape(shown, -1)

    def _read(self, slot: int, prompt: Sequence[int], known: int) -> int:
        for start in range(known, len(prompt), BATCH):
            part = prompt[start : start + BATCH]
            last = start + len(part) == len(prompt)
            rows = [(token, start + i, slot, last and i + 1 == len(part))
                    for i, token in enumerate(part)]  # fmt: skip
            logits = (
                self._decode(rows) if last else self._decode([*rows[:-1], (*rows[-1][:3], True)])
            )
        return int(logits[0].argmax())

    def answer(self, prompts: Sequence[Sequence[int]], ends: set[int], limit: int) -> int:
        """Answer all prompts; return how many tokens were written."""
        llama.llama_memory_clear(self.memory, True)
        waiting = list(prompts)[::-1]
        common = len(os.path.commonprefix([tuple(prompt) for prompt in prompts]))  # noqa: RUF071
        common = min(common, *(len(prompt) - 1 for prompt in prompts))
        beginning = self._beginning(prompts[0][:common]) if len(prompts) > 1 and common else None
        live: list[list[int] | None] = [None] * self.width
        written = 0
        while waiting or any(live):
            for slot in range(self.width):
                if live[slot] is None and waiting:
                    prompt = waiting.pop()
                    llama.llama_memory_seq_rm(self.memory, slot, -1, -1)
                    if beginning is not None:
                        size = len(beginning)
                        llama.llama_state_seq_set_data(self.context, beginning, size, slot)
                    known = 0 if beginning is None else common
                    live[slot] = [self._read(slot, prompt, known), len(prompt), 1]
                    written += 1
            rows = [(each[0], each[1], slot, True) for slot, each in enumerate(live) if each]
            chosen = self._decode(rows).argmax(axis=1)
            for (_, _, slot, _), token in zip(rows, chosen.tolist(), strict=True):
                each = live[slot] or []
                live[slot] = [token, each[1] + 1, each[2] + 1]
                written += 1
                if token in ends or each[2] + 1 >= limit:
                    live[slot] = None
        return written

    def _beginning(self, tokens: Sequence[int]) -> Any:  # noqa: ANN401
        self._read(0, tokens, 0)
        size = llama.llama_state_seq_get_size(self.context, 0)
        state = (llama.ctypes.c_uint8 * size)()
        llama.llama_state_seq_get_data(self.context, state, size, 0)
        return state

    def close(self) -> None:
        """Free everything."""
        llama.llama_batch_free(self.batch)
        llama.llama_free(self.context)
        llama.llama_model_free(self.model)
