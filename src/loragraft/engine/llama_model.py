"""A GGUF loaded in this process through llama.cpp's low-level interface.

llama-cpp-python's ctypes bindings are used without its ``Llama`` class: token ids, the key-value
cache and the moment of an interruption are ours to decide.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from loragraft.engine.interruption import signals_noted
from loragraft.engine.llama_library import leave_tiles_alone
from loragraft.engine.llama_log import forget_log, keep_log_quiet, last_log_lines
from loragraft.engine.threads import choose_threads
from loragraft.errors import (
    BundleError,
    OutOfMemoryError,
    UnavailableError,
    UnsupportedError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 256
"""Tokens of a prompt that are read at once: as fast as 512 on a processor, in half the memory."""
NO_ROOM, ABORTED = 1, 2
"""What llama_decode returns beside 0 and failures."""


class LlamaModel:
    """One loaded model with one context, which remembers what it has read.

    Attributes:
        path: The file.
        context: Tokens that fit into the context.
        vocabulary: Number of tokens.
    """

    def __init__(self, path: Path, *, context: int, threads: int, gpu_layers: int = 0) -> None:
        """Load a GGUF file whose header was found to be sound.

        Args:
            path: The file.
            context: Tokens of the context.
            threads: Threads of the computation; 0 for all cores.
            gpu_layers: Layers that a GPU computes.

        Raises:
            InputError: If there cannot be so many threads.
            BundleError: If llama.cpp cannot load it, with its own words.
            UnsupportedError: If it is no model that writes text.
            OutOfMemoryError: If there is no room for the context.
        """
        threads = choose_threads(threads)
        import llama_cpp

        self._llama: Any = llama_cpp
        self._context: Any = None
        self._noted: list[int] = []
        self._busy = RLock()
        self.path, self.context = path, context
        keep_log_quiet()
        forget_log()
        llama_cpp.llama_backend_init()
        self._model: Any = self._load(gpu_layers)
        try:
            self._refuse_other_kinds()
            self._vocab = llama_cpp.llama_model_get_vocab(self._model)
            self.vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
            self._open_context(threads)
        except BaseException:
            self.close()
            raise
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._held: list[int] = []
        noted = self._noted
        self._abort = llama_cpp.ggml_abort_callback(lambda _: bool(noted))
        self._watched = False

    def _load(self, gpu_layers: int) -> Any:  # noqa: ANN401 - an opaque pointer
        parameters = self._llama.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        leave_tiles_alone(self._llama, parameters)
        model = self._llama.llama_model_load_from_file(os.fsencode(self.path), parameters)
        if not model:
            raise BundleError(
                f"llama.cpp cannot load {self.path}: {last_log_lines()}. Check its checksum, and "
                "that this llama-cpp-python knows its architecture."
            )
        return model

    def _refuse_other_kinds(self) -> None:
        llama = self._llama
        if llama.llama_model_has_encoder(self._model) or not llama.llama_model_has_decoder(
            self._model
        ):
            raise UnsupportedError(
                f"{self.path} holds an encoder, which embeds texts and writes none. Give a model "
                "that generates text."
            )

    def _open_context(self, threads: int) -> None:
        parameters = self._llama.llama_context_default_params()
        parameters.n_ctx = self.context
        parameters.n_batch = parameters.n_ubatch = min(BATCH, self.context)
        parameters.n_threads = parameters.n_threads_batch = threads
        self._shape(parameters)
        self._context = self._llama.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise OutOfMemoryError(
                f"llama.cpp makes no context of {self.context} tokens for {self.path}: "
                f"{last_log_lines()}. Choose a smaller context."
            )

    def _shape(self, parameters: Any) -> None:  # noqa: ANN401 - a ctypes structure
        """Change what the context is made with."""

    def tokenize(self, text: str, *, special: bool = True, whole: bool = False) -> list[int]:
        """Return a text's token ids.

        Args:
            text: What to tokenize.
            special: Whether the texts of control tokens become these tokens.
            whole: Whether what the tokenizer puts at a text's beginning and end is added.

        Raises:
            BundleError: If llama.cpp cannot: the vocabulary is unfit.
        """
        data = text.encode("utf-8", "replace")  # half a surrogate pair has no bytes
        if not data:
            return []
        room = len(data) + 8
        for _ in range(2):
            tokens = (ctypes.c_int32 * room)()
            with self._open():
                count = self._llama.llama_tokenize(
                    self._vocab, data, len(data), tokens, room, whole, special
                )
            if count >= 0:
                return list(tokens[:count])
            room = min(-count, 1 << 30)
        raise BundleError(f"{self.path}: llama.cpp cannot tokenize a text of {len(data)} bytes.")

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return a token's bytes; a control token's are shown only if ``special``."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            with self._open():
                count = self._llama.llama_token_to_piece(
                    self._vocab, token, buffer, size, 0, special
                )
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    @property
    def vocabulary_handle(self) -> Any:  # noqa: ANN401 - an opaque pointer
        """What llama.cpp's own functions take as the vocabulary; only while the model is open."""
        with self._open():
            return self._vocab

    def ends_answer(self, token: int) -> bool:
        """Whether llama.cpp itself counts a token among those that end an answer."""
        with self._open():
            return bool(self._llama.llama_vocab_is_eog(self._vocab, token))

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        with self._open():
            return bool(self._llama.llama_vocab_is_control(self._vocab, token))

    def read(self, tokens: Sequence[int], *, fresh: bool = False) -> int:
        """Bring the context to exactly these tokens, reading only what is new.

        Args:
            tokens: The whole sequence, at least one token.
            fresh: Forget everything first: the same numbers whatever was read before.

        Returns:
            Tokens that were still known.

        Raises:
            KeyboardInterrupt: If the user interrupts; what was read is kept.
            BundleError: If a token does not exist or the computation fails.
        """
        if not all(0 <= token < self.vocabulary for token in tokens):
            raise BundleError(f"{self.path} has {self.vocabulary} tokens, numbered from 0.")
        if not 1 <= len(tokens) <= self.context:
            raise BundleError(f"{len(tokens)} tokens for a context of {self.context}.")
        # The last token is always computed, for its logits.
        known = 0 if fresh else min(common_beginning(self._held, tokens), len(tokens) - 1)
        with self._open():
            known = self._keep(known)
        for start in range(known, len(tokens), BATCH):
            self._decode(tokens[start : start + BATCH])
        return known

    def add(self, token: int) -> None:
        """Read one more token, after those of :meth:`read`.

        Raises:
            BundleError: If the computation fails.
        """
        self._decode([token])

    def _keep(self, count: int) -> int:
        """Forget all but the first tokens; return how many are left."""
        memory, llama = self._memory, self._llama
        self._held = self._held[:count]
        if count and llama.llama_memory_seq_rm(memory, 0, count, -1):
            return count
        # A recurrent state cannot go back: begin again.
        llama.llama_memory_clear(memory, True)
        self._held = []
        return 0

    def _decode(self, tokens: Sequence[int]) -> None:
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        self._compute(self._llama.llama_batch_get_one(array, len(tokens)), len(tokens) > 1)
        self._held += tokens

    def _compute(self, batch: Any, watch: bool) -> None:  # noqa: ANN401 - a ctypes structure
        """Compute a batch; Ctrl-C ends it between two steps where it is watched."""
        with self._open():
            self._watch_interruptions(watch)
            with signals_noted(self._noted) if self._watched else nullcontext():
                status = self._llama.llama_decode(self._context, batch)
        if status == ABORTED:
            raise KeyboardInterrupt
        if status != 0:
            why = "no room in the context" if status == NO_ROOM else last_log_lines()
            raise BundleError(f"{self.path}: llama_decode failed ({status}): {why}.")

    def _watch_interruptions(self, watch: bool) -> None:
        """Let Ctrl-C end the reading of a prompt, which may take minutes, between two steps.

        A single token is not watched: asking Python after each of its steps costs a small model
        a third of its speed.
        """
        if watch != self._watched:
            callback = self._abort if watch else self._llama.ggml_abort_callback()
            self._llama.llama_set_abort_callback(self._context, callback, None)
            self._watched = watch

    def logits(self) -> NDArray[np.float32]:
        """Return the logits after the last token read, shape [vocabulary]."""
        return self._logits_of(-1)

    def _logits_of(self, row: int) -> NDArray[np.float32]:
        """Return the logits after a token of the last batch."""
        import numpy as np

        with self._open():  # copied: what llama.cpp shows is gone with the model
            pointer = self._llama.llama_get_logits_ith(self._context, row)
            logits: NDArray[np.float32] = np.ctypeslib.as_array(pointer, (self.vocabulary,)).copy()
        return logits

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Keep the model from being freed meanwhile.

        Raises:
            UnavailableError: If it was freed before.
        """
        with self._busy:
            if not self._model:
                raise UnavailableError(f"{self.path} was closed. Open it again.")
            yield

    def close(self) -> None:
        """Free context and model, once nothing computes; what is asked of it then is an error."""
        with self._busy:
            if self._context:
                self._llama.llama_free(self._context)
                self._context = None
            if self._model:
                self._llama.llama_model_free(self._model)
                self._model = None


def common_beginning(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count
