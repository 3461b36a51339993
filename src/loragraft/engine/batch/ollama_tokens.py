"""The tokens of an Ollama model: its server shows the vocabulary, llama.cpp here reads with it.

``/api/show`` with ``verbose`` holds the metadata of the model's file, tokens and merges among
them. Written into a file without weights, they are a tokenizer: the server's own, where it runs
the model by llama.cpp.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loragraft.artifact.child import child_command, run_child
from loragraft.artifact.closing import Closing
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.llama_vocabulary import LlamaTokenizer, open_vocabulary
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import CheckFailedError, LoragraftError

PREFIX = "tokenizer.ggml."
LISTS = {"tokens": "STRING", "merges": "STRING", "scores": "FLOAT32", "token_type": "INT32"}
"""Lists of a vocabulary, and what they hold."""
CHECK_SECONDS = 60.0
ARCHITECTURE = "llama"
"""Any that llama.cpp knows: a vocabulary is read the same way in all of them."""

_SOUND: set[bytes] = set()
"""Hashes of vocabularies that llama.cpp was seen to survive in this process."""


class OllamaTokens(Closing):
    """A model's tokenizer; a context manager."""

    def __init__(self, tokenizer: LlamaTokenizer, held: ExitStack) -> None:
        """Hold what :func:`open_tokens` has loaded."""
        self._tokenizer: LlamaTokenizer | None = tokenizer
        self._held, self._lock = held, threading.Lock()

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a rendered conversation, as the server gives them to the model."""
        return self._encode(text, add_special=True)

    def count(self, text: str) -> int:
        """Return the tokens of a text by itself."""
        return len(self._encode(text, add_special=False))

    def _encode(self, text: str, *, add_special: bool) -> list[int]:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate has no bytes
        with self._lock:  # a thread that was not waited for may still come by after the end
            if self._tokenizer is None:
                raise FailedError("error", "It was stopped.")
            return self._tokenizer.encode(clean, add_special=add_special, parse_special=True)

    def close(self) -> None:
        """Free the vocabulary."""
        with self._lock:
            self._tokenizer = None
            self._held.close()


def open_tokens(server: OllamaServer, tag: str) -> OllamaTokens | None:
    """Load a model's tokenizer; None where the server does not show it, or it cannot be loaded.

    Raises:
        UnavailableError: If no server answers.
    """
    shown = server.vocabulary(tag)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="loragraft-vocabulary-"))
        path = Path(folder) / "vocabulary.gguf"
        if not _write(path, shown):
            return None
        try:
            _check(path)
            tokenizer = stack.enter_context(open_vocabulary(path))
        except (CheckFailedError, LoragraftError, OSError):
            return None  # counting is a comfort: without it the server's own word is taken
        return OllamaTokens(tokenizer, stack.pop_all())


def _check(path: Path) -> None:
    """Load a vocabulary in a child process first, unless its like was found to load before.

    Raises:
        CheckFailedError: If llama.cpp does not survive it.
    """
    digest = hashlib.sha256(path.read_bytes()).digest()
    if digest not in _SOUND:
        command = child_command("loragraft.engine.llama_vocabulary", [str(path)])
        run_child(command, timeout=CHECK_SECONDS, purpose="Reading a vocabulary")
        _SOUND.add(digest)


def _write(path: Path, shown: Mapping[str, Any]) -> bool:
    """Write a vocabulary as a file of GGUF; return whether there is one."""
    import gguf

    lists = {name: shown.get(PREFIX + name) for name in LISTS}
    tokens = lists["tokens"]
    if not _is_list(tokens, "STRING") or not isinstance(shown.get(f"{PREFIX}model"), str):
        return False
    writer = gguf.GGUFWriter(path=None, arch=ARCHITECTURE)
    for name, values in lists.items():
        if values and _is_list(values, LISTS[name]):
            kind = gguf.GGUFValueType[LISTS[name]]
            writer.add_key_value(PREFIX + name, values, gguf.GGUFValueType.ARRAY, sub_type=kind)
    for key, value in shown.items():
        if key.startswith("tokenizer.") and type(value) in (bool, int, str):
            _add(writer, key, value)
    try:
        writer.write_header_to_file(path=path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
    except (OSError, ValueError, OverflowError):  # a full disk; numbers of another size
        return False
    return True


def _add(writer: Any, key: str, value: bool | int | str) -> None:  # noqa: ANN401
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif 0 <= value < 2**32:
        writer.add_uint32(key, value)


def _is_list(values: object, kind: str) -> bool:
    allowed = {"STRING": (str,), "FLOAT32": (int, float), "INT32": (int,)}[kind]
    return isinstance(values, list) and bool(values) and all(type(v) in allowed for v in values)
