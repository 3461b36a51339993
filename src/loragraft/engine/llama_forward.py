"""llama.cpp's forward pass by its low-level interface; only ever used in a child process.

The library is reached through llama-cpp-python's ctypes bindings: logits of every position are
needed, without a sampler or a chat format in between.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.closing import Closing
from loragraft.engine.llama_log import forget_log, keep_log_quiet, last_log_lines, log_lines
from loragraft.errors import BundleError


class LlamaForward(Closing):
    """One loaded model with one context; a context manager.

    Attributes:
        vocabulary: Number of tokens.
    """

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        """Load a GGUF file.

        Raises:
            BundleError: If llama.cpp cannot load it, with its own words.
        """
        import llama_cpp

        self._llama: Any = llama_cpp
        keep_log_quiet()
        forget_log()
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        # Repacked weights would be a second copy in anonymous memory, only to be used once.
        parameters.use_extra_bufts = False
        self._context: Any = None
        self._model: Any = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise BundleError(f"llama.cpp cannot load {path}: {last_log_lines()}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self._open_context(path, context, threads)

    def _open_context(self, path: Path, context: int, threads: int) -> None:
        parameters = self._llama.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = context
        parameters.n_threads = parameters.n_threads_batch = threads
        self._context = self._llama.llama_init_from_model(self._model, parameters)
        if not self._context:
            self.close()
            raise BundleError(f"llama.cpp makes no context for {path}: {last_log_lines()}")

    @property
    def log(self) -> tuple[str, ...]:
        """Warnings and errors of llama.cpp so far."""
        return log_lines()

    def tokenize(self, text: str) -> list[int]:
        """Return a text's token ids, BOS included where the file asks for it."""
        data = text.encode()
        room = len(data) + 8
        tokens = (ctypes.c_int32 * room)()
        count = self._llama.llama_tokenize(self._vocab, data, len(data), tokens, room, True, False)
        if count < 0:
            raise BundleError(f"llama.cpp cannot tokenize a text of {len(data)} bytes.")
        return list(tokens[:count])

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits after each token of a fresh sequence, shape [tokens, vocabulary].

        Raises:
            BundleError: If a token does not exist or the pass fails.
        """
        llama, count = self._llama, len(tokens)
        if not all(0 <= token < self.vocabulary for token in tokens):
            raise BundleError(
                f"Token {max(tokens)} was asked for; the file has {self.vocabulary} tokens."
            )
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        batch = llama.llama_batch_init(count, 0, 1)
        try:
            batch.n_tokens = count
            for index, token in enumerate(tokens):
                batch.token[index], batch.pos[index] = token, index
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
                batch.logits[index] = 1
            status = llama.llama_decode(self._context, batch)
        finally:
            llama.llama_batch_free(batch)
        if status != 0:
            raise BundleError(f"llama_decode failed ({status}): {last_log_lines()}")
        pointer = ctypes.cast(llama.llama_get_logits(self._context), ctypes.POINTER(ctypes.c_float))
        values: NDArray[np.float32] = np.ctypeslib.as_array(
            pointer, (count, self.vocabulary)
        ).astype(np.float32)
        return values

    def close(self) -> None:
        """Free context and model."""
        if self._context:
            self._llama.llama_free(self._context)
            self._context = None
        if self._model:
            self._llama.llama_model_free(self._model)
            self._model = None
