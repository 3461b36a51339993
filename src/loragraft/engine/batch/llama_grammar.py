"""An answer held to a JSON schema, by llama.cpp's own grammars."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loragraft.engine.llama_model import LlamaModel
from loragraft.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ANY, PRINTABLE = r'[^"\\]', r'[^"\\\x7F\x00-\x1F]'
"""A character of a string: as llama-cpp-python 0.3.36 makes it, and as JSON has it, without line
breaks (RFC 8259, section 7). llama.cpp's own converter writes the latter."""


class SchemaRule:
    """Which tokens may come next in an answer that has to follow a schema."""

    def __init__(self, model: LlamaModel, schema: Mapping[str, Any]) -> None:
        """Make the grammar of a schema.

        Raises:
            InputError: If there is none for it.
        """
        import llama_cpp

        self._llama: Any = llama_cpp
        self._grammar: Any = llama_cpp.llama_sampler_init_grammar(
            model.vocabulary_handle, _grammar_of(schema).encode(), b"root"
        )
        if not self._grammar:
            raise InputError(f"llama.cpp takes no grammar made from the schema {_short(schema)}.")

    def allows(self, token: int) -> bool:
        """Whether a token may come next."""
        import numpy as np

        alone = np.zeros(1, _entry())
        alone["id"] = token
        return bool(np.isfinite(self._apply(alone)["logit"][0]))

    def only(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits with those of all other tokens at minus infinity."""
        import numpy as np

        entries = np.zeros(len(logits), _entry())
        entries["id"], entries["logit"] = np.arange(len(logits)), logits
        entries = self._apply(entries)
        out = np.empty_like(logits)
        out[entries["id"]] = entries["logit"]
        return out

    def _apply(self, entries: NDArray[Any]) -> NDArray[Any]:
        llama = self._llama
        pointer = entries.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        array = llama.llama_token_data_array(pointer, len(entries), -1, False)
        llama.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return entries

    def accept(self, token: int) -> None:
        """Go on after a token that is allowed."""
        self._llama.llama_sampler_accept(self._grammar, token)

    def close(self) -> None:
        """Free the grammar; twice does no harm."""
        if self._grammar:
            self._llama.llama_sampler_free(self._grammar)
            self._grammar = None


def _entry() -> list[tuple[str, str]]:
    """Return the layout of llama_token_data."""
    return [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")]


def _grammar_of(schema: Mapping[str, Any]) -> str:
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        return str(json_schema_to_gbnf(json.dumps(schema))).replace(ANY, PRINTABLE)
    except Exception as error:  # the converter asserts, looks up and raises whatever comes
        raise InputError(
            f"The schema {_short(schema)} cannot be made into a grammar ({error!r}). Use types, "
            "properties, enums and arrays."
        ) from None


def _short(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema)[:200]
