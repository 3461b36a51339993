"""What a GGUF file says of conversations: template, special tokens, ends, context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import BundleError

TEMPLATE_KEY = "tokenizer.chat_template"
END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
"""Keys (after ``tokenizer.ggml.``) of the tokens that end an answer."""

CONTROL, USER_DEFINED = 3, 4
"""Token types of llama.cpp (``llama_token_type``) that are parsed as one token in prompts."""

BOS_BY_DEFAULT = frozenset({"llama", "t5"})
"""Tokenizer models to which llama.cpp adds a BOS where the file does not say (llama-vocab.cpp:
SPM and WPM; a byte-level BPE only for some pre-tokenizers, which our files always state)."""


@dataclass(frozen=True)
class ChatFacts:
    """A file's vocabulary and template, as far as a conversation needs them.

    Attributes:
        architecture: Such as "llama".
        vocabulary: The text of every token, by id.
        control: Ids that the tokenizer takes as one token wherever their text stands in a prompt.
        template: The Jinja chat template, if the file has one.
        templates: Further templates by name.
        bos: Text of the token that begins a text.
        eos: Text of the token that ends one.
        bos_id: Its id.
        eos_id: Its id.
        add_bos: Whether engines put a BOS in front of every prompt by themselves.
        end_ids: The tokens that end an answer, as the file names them, each once.
        context_length: Tokens that the model was trained for.
    """

    architecture: str
    vocabulary: tuple[str, ...]
    control: frozenset[int]
    template: str | None
    templates: Mapping[str, str]
    bos: str | None
    eos: str | None
    bos_id: int | None
    eos_id: int | None
    add_bos: bool
    end_ids: tuple[int, ...]
    context_length: int | None

    @property
    def variables(self) -> dict[str, str]:
        """What a template may read of the special tokens, as transformers gives it."""
        known = {"bos_token": self.bos, "eos_token": self.eos}
        return {name: text for name, text in known.items() if text is not None}


def read_chat_facts(gguf: Path) -> ChatFacts:
    """Read the header of a GGUF file.

    Raises:
        BundleError: If it is no readable GGUF file, or one without a vocabulary.
    """
    with GgufFile(gguf) as file:
        return chat_facts(file)


def chat_facts(file: GgufFile) -> ChatFacts:
    """Return what an opened file says.

    Raises:
        BundleError: If it has no vocabulary.
    """
    tokens = file.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens:
        raise BundleError(
            f"{file.path} holds no vocabulary: it is not a language model that can answer. "
            "Export it again, or give the model's main GGUF file."
        )
    ids = {key: _token(file, key, len(tokens)) for key in ("bos_token_id", *END_KEYS)}
    architecture = str(file.get("general.architecture", ""))
    context = file.get(f"{architecture}.context_length")
    bos, eos = ids["bos_token_id"], ids["eos_token_id"]
    ends = [ids[key] for key in END_KEYS]
    return ChatFacts(
        architecture=architecture,
        vocabulary=tuple(map(str, tokens)),
        control=_control(file.get("tokenizer.ggml.token_type"), len(tokens)),
        template=_text(file.get(TEMPLATE_KEY)),
        templates=_named_templates(file),
        bos=None if bos is None else str(tokens[bos]),
        eos=None if eos is None else str(tokens[eos]),
        bos_id=bos,
        eos_id=eos,
        add_bos=_adds_bos(file),
        end_ids=tuple(dict.fromkeys(end for end in ends if end is not None)),
        context_length=context if type(context) is int and context > 0 else None,
    )


def _token(file: GgufFile, key: str, size: int) -> int | None:
    found = file.get(f"tokenizer.ggml.{key}")
    return found if type(found) is int and 0 <= found < size else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _control(types: object, size: int) -> frozenset[int]:
    listed: Sequence[object] = types if isinstance(types, list) else []
    return frozenset(
        token for token, kind in enumerate(listed[:size]) if kind in (CONTROL, USER_DEFINED)
    )


def _named_templates(file: GgufFile) -> dict[str, str]:
    prefix = f"{TEMPLATE_KEY}."
    found = {key.removeprefix(prefix): file.get(key) for key in file.keys if key.startswith(prefix)}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _adds_bos(file: GgufFile) -> bool:
    says = file.get("tokenizer.ggml.add_bos_token")
    if isinstance(says, bool):
        return says
    return file.get("tokenizer.ggml.model") in BOS_BY_DEFAULT
