"""Several sequences in one context of llama.cpp, none of which changes another's numbers.

What keeps them apart:

- Each sequence has cells of its own (``kv_unified`` off), filled from the first on. In shared
  cells, attention would add up in an order that others decide.
- Writing goes in batches of one row a sequence, always as many rows as there are sequences:
  kernels round differently for another number of rows. Who has nothing to say says token 0.
- Prompts are read one at a time, in parts whose ends only the prompt decides.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.engine.llama_model import BATCH, LlamaModel
from loragraft.errors import BundleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CELLS = 256
"""A sequence's cells are a multiple of this: llama.cpp's own rounding."""
MOST = 256
"""Sequences that a context may have (LLAMA_MAX_SEQ)."""
IDLE = 0
"""The token of a row that nobody waits for."""


class LlamaSlots(LlamaModel):
    """One loaded model with one context for several sequences.

    Attributes:
        width: Number of sequences.
    """

    def __init__(
        self, path: Path, *, context: int, width: int, threads: int, gpu_layers: int = 0
    ) -> None:
        """Load a GGUF file whose header was found to be sound.

        Args:
            path: The file.
            context: Tokens of each sequence.
            width: Sequences.
            threads: Threads of the computation; 0 for all cores.
            gpu_layers: Layers that a GPU computes.

        Raises:
            LoragraftError: As :class:`~loragraft.engine.llama_model.LlamaModel` does.
        """
        self.width = width
        self._batch: Any = None
        super().__init__(path, context=context, threads=threads, gpu_layers=gpu_layers)
        self._batch = self._llama.llama_batch_init(max(BATCH, width), 0, 1)

    def _shape(self, parameters: Any) -> None:  # noqa: ANN401 - a ctypes structure
        parameters.n_ctx = cells(self.context) * self.width
        parameters.n_batch = parameters.n_ubatch = max(BATCH, self.width)
        parameters.n_seq_max, parameters.kv_unified = self.width, False

    def read_part(
        self, slot: int, tokens: Sequence[int], start: int, wanted: int = 0
    ) -> NDArray[np.float32] | None:
        """Read more of a sequence.

        Args:
            slot: Which.
            tokens: At most ``BATCH``.
            start: How many tokens stand before them.
            wanted: After how many of the last of them the logits are asked for.

        Returns:
            Logits of shape [wanted, vocabulary]; None if none are wanted.

        Raises:
            KeyboardInterrupt: If the user interrupts; the sequence is then to be forgotten.
            BundleError: If a token does not exist or the computation fails.
        """
        shown = len(tokens) - wanted
        rows = [(t, start + i, slot, i >= shown) for i, t in enumerate(tokens)]
        self._decode_rows(rows, watch=True)
        return self._rows(range(shown, len(tokens))).copy() if wanted else None

    def step(self, rows: Sequence[tuple[int, int] | None]) -> NDArray[np.float32]:
        """Read one more token of every sequence.

        Args:
            rows: A sequence's token and how many stand before it; None for one that is idle.

        Returns:
            Logits of shape [width, vocabulary], good until the next computation.

        Raises:
            BundleError: If a token does not exist or the computation fails.
        """
        for slot, row in enumerate(rows):
            if row is None:
                self.forget(slot)
        told = [(*(row or (IDLE, 0)), slot, True) for slot, row in enumerate(rows)]
        self._decode_rows(told, watch=False)
        return self._rows(range(len(told)))

    def _decode_rows(self, rows: Sequence[tuple[int, int, int, bool]], *, watch: bool) -> None:
        if not all(0 <= row[0] < self.vocabulary for row in rows):
            raise BundleError(f"{self.path} has {self.vocabulary} tokens, numbered from 0.")
        batch = self._batch
        with self._open():
            self._held = []  # what read() remembers is overwritten
            batch.n_tokens = len(rows)
            for index, (token, position, slot, shown) in enumerate(rows):
                batch.token[index], batch.pos[index] = token, position
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, slot
                batch.logits[index] = shown
        self._compute(batch, watch)

    def _rows(self, rows: range) -> NDArray[np.float32]:
        """Return logits of the last batch as they lie in llama.cpp's own memory."""
        import numpy as np

        with self._open():  # asked for one after the other, they lie one after the other
            pointer = self._llama.llama_get_logits_ith(self._context, rows.start)
            shape = (len(rows), self.vocabulary)
            logits: NDArray[np.float32] = np.ctypeslib.as_array(pointer, shape)
        return logits

    def rows_agree(self) -> bool:
        """Whether this machine's kernels give every row of a batch the same numbers.

        All sequences read the same tokens; their logits have to be the same to the last bit.
        """
        self.forget_all()
        self.read_part(0, [IDLE] * 2, 0)
        state = self.keep(0)
        for slot in range(1, self.width):
            self.restore(slot, state)
        logits = self.step([(IDLE, 2)] * self.width)
        self.forget_all()
        return bool((logits.view("u4") == logits[0].view("u4")).all())  # NaN is NaN here

    def forget(self, slot: int) -> None:
        """Empty a sequence."""
        with self._open():
            self._llama.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def forget_all(self) -> None:
        """Empty all sequences."""
        with self._open():
            self._held = []
            self._llama.llama_memory_clear(self._memory, True)

    def keep(self, slot: int) -> ctypes.Array[ctypes.c_uint8]:
        """Return a copy of what a sequence has read, recurrent states included.

        Raises:
            BundleError: If llama.cpp cannot give it.
        """
        llama = self._llama
        with self._open():
            size = llama.llama_state_seq_get_size(self._context, slot)
            state: ctypes.Array[ctypes.c_uint8] = (ctypes.c_uint8 * size)()
            if llama.llama_state_seq_get_data(self._context, state, size, slot) != size or not size:
                raise BundleError(f"{self.path}: llama.cpp gives no copy of a sequence.")
        return state

    def restore(self, slot: int, state: ctypes.Array[ctypes.c_uint8]) -> None:
        """Bring a sequence to where another was when it was kept.

        Raises:
            BundleError: If llama.cpp cannot take it.
        """
        self.forget(slot)
        size = len(state)
        with self._open():
            done = self._llama.llama_state_seq_set_data(self._context, state, size, slot)
        if not done:
            raise BundleError(f"{self.path}: llama.cpp does not take the copy of a sequence back.")

    def close(self) -> None:
        """Free batch, context and model."""
        with self._busy:
            if self._batch is not None:
                self._llama.llama_batch_free(self._batch)
                self._batch = None
        super().close()


def cells(context: int) -> int:
    """Return the cells that a sequence of so many tokens has."""
    return context + -context % CELLS
