"""llama.cpp's tokenizer on a GGUF file, through llama-cpp-python's low-level functions.

Run as ``python -m loragraft.engine.llama_vocabulary GGUF`` it loads a vocabulary and prints JSON:
llama.cpp ends the whole process on some that are broken.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.engine.llama_log import keep_log_quiet
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
    keep_log_quiet()
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


def main(arguments: Sequence[str]) -> int:
    """Run the child; JSON goes to stdout."""
    with open_vocabulary(Path(arguments[0])) as tokenizer:
        tokenizer.encode("The quick brown fox: 42. 東京 🙂", add_special=True, parse_special=True)
        sys.stdout.write(json.dumps({"size": tokenizer.size}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
