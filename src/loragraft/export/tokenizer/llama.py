"""llama.cpp's tokenizer on a GGUF file, through llama-cpp-python's low-level functions."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from loragraft.errors import TokenizerError, UnavailableError

# BOS, EOS and what a tokenizer may put around a text
_ROOM = 16


@dataclass(frozen=True)
class LlamaTokenizer:
    """The loaded vocabulary of a GGUF file; made by `open_vocabulary`."""

    vocabulary: Any
    size: int

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Return the ids of a text."""
        import llama_cpp

        data = text.encode("utf-8")
        capacity = len(data) + _ROOM
        while True:
            ids = (llama_cpp.llama_token * capacity)()
            count = llama_cpp.llama_tokenize(
                self.vocabulary, data, len(data), ids, capacity, add_special, parse_special
            )
            if count >= 0:
                return list(ids[:count])
            capacity = -count


@contextmanager
def open_vocabulary(path: Path) -> Iterator[LlamaTokenizer]:
    """Load only the vocabulary of a GGUF file, without llama.cpp's log on stderr.

    Raises:
        TokenizerError: llama.cpp does not load the file.
        UnavailableError: llama-cpp-python is not installed.
    """
    try:
        import llama_cpp
    except ImportError as error:
        raise UnavailableError(
            "Comparing token ids needs llama-cpp-python, which is not installed. Install it with: "
            "pip install llama-cpp-python"
        ) from error
    if not path.is_file():
        raise TokenizerError(f"{path} is not there. Name a GGUF file.")
    _silence()
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise TokenizerError(f"llama.cpp does not load the vocabulary of {path}. Export it again.")
    try:
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        yield LlamaTokenizer(vocabulary, llama_cpp.llama_vocab_n_tokens(vocabulary))
    finally:
        llama_cpp.llama_model_free(model)


@cache
def _silence() -> object:
    """Send llama.cpp's log nowhere; the callback must outlive every call, so it is kept."""
    import llama_cpp

    def ignore(level: int, text: bytes, data: ctypes.c_void_p) -> None:
        """Drop one line."""

    callback = llama_cpp.llama_log_callback(ignore)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback
