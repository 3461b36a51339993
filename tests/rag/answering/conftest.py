"""Real vocabularies, and a small model that counts with its own tokenizer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.llama_log import keep_log_quiet

VOCABULARIES = ("llama-bpe", "phi-3", "gemma-4", "deepseek-llm", "falcon", "bert-bge")
"""One of each kind: GPT-2's with special tokens, SentencePiece with and without a normalizer,
full-width brackets, words in capitals, WordPiece."""
NO_TEXT = "\U00013142"
"""A hieroglyph: WordPiece reads [UNK] for it, as for any word that it does not know, so that
[UNK] says nothing of a text's control tokens."""


class Vocabulary:
    """A vocabulary of llama.cpp's own test files, without a model.

    Attributes:
        controls: Texts and ids of its control tokens, but for the one of unknown words.
    """

    def __init__(self, path: Path) -> None:
        """Load it."""
        import llama_cpp

        keep_log_quiet()
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        self._llama = llama_cpp
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        found = {
            llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"): token
            for token in range(llama_cpp.llama_vocab_n_tokens(self._vocab))
            if llama_cpp.llama_vocab_is_control(self._vocab, token)
        }
        unknown = set(self.ids(NO_TEXT))
        self.controls = {text: token for text, token in found.items() if token not in unknown}

    def ids(self, text: str) -> list[int]:
        """Return a text's tokens, control tokens among them."""
        import ctypes

        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        tokens = (ctypes.c_int32 * room)()
        count = self._llama.llama_tokenize(self._vocab, data, len(data), tokens, room, False, True)
        assert count >= 0
        return list(tokens[:count])

    def count(self, text: str) -> int:
        """Return the number of a text's tokens."""
        return len(self.ids(text))

    def controls_in(self, text: str) -> list[str]:
        """Return the control tokens that the tokenizer takes from a text."""
        found = set(self.ids(text))
        return [name for name, token in self.controls.items() if token in found]

    def close(self) -> None:
        """Free it."""
        self._llama.llama_model_free(self._model)


@pytest.fixture(scope="session")
def vocabularies(llama_cpp_source: Path) -> Iterator[Callable[[str], Vocabulary]]:
    """Real vocabularies of several families, each loaded when it is first asked for."""
    loaded: dict[str, Vocabulary] = {}

    def vocabulary(name: str) -> Vocabulary:
        if name not in loaded:
            loaded[name] = Vocabulary(llama_cpp_source / "models" / f"ggml-vocab-{name}.gguf")
        return loaded[name]

    yield vocabulary
    for one in loaded.values():
        one.close()


@pytest.fixture(scope="module")
def engine(talking_bundle: Callable[[str], Path]) -> Iterator[LlamaEngine]:
    """A small model whose tokenizer has few words: a prompt soon has 2,000 tokens."""
    engine = LlamaEngine(open_model(talking_bundle("qwen3")), context=4096, threads=1, literal=True)
    yield engine
    engine.close()
