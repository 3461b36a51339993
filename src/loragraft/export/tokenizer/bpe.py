"""Byte-level BPE: token list, types and merges as llama.cpp reads them."""

# ruff: noqa: RUF001  (DeepSeek's tokens are spelled with a wide bar)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer.families import Family
from loragraft.export.tokenizer.inventory import AddedToken, Inventory
from loragraft.export.tokenizer.table import TokenTable, TokenType

# Texts that some models ought to have marked special and did not (command-r, deepseek-coder,
# gemma), after llama.cpp's conversion/base.py.
_SPECIAL_TEXTS = frozenset({"<pad>", "<mask>", "<2mass>", "[@BOS@]"})
_SPECIAL_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))
# A space inside a merge's half; llama.cpp separates the halves by a space. GPT-2's byte alphabet
# spells a space as the character 256 places on.
_SPACE_IN_MERGE = chr(ord(" ") + 256)
_NEXT = (
    "Take the base's original tokenizer.json, or save it anew with transformers' save_pretrained."
)


def looks_special(text: str) -> bool:
    """Whether a token not marked special is one by its looks."""
    return text in _SPECIAL_TEXTS or any(
        text.startswith(start) and text.endswith(end) for start, end in _SPECIAL_BRACKETS
    )


def added_entry(token: AddedToken, family: Family) -> tuple[str, TokenType]:
    """Return text and type under which an added token is written."""
    if token.special or (looks_special(token.content) and not family.added_are_literal):
        return token.content, TokenType.CONTROL
    if family.added_are_literal:
        return token.content, TokenType.USER_DEFINED
    # llama.cpp matches user-defined tokens in the raw text, where a space is a space
    return token.content.replace("▁", " "), TokenType.USER_DEFINED


def bpe_table(inventory: Inventory, size: int) -> TokenTable:
    """Return the table of a byte-level BPE vocabulary, padded with unused tokens to `size`."""
    table = TokenTable.padded(size)
    for text, token_id in inventory.vocab.items():
        table.set(token_id, text, TokenType.NORMAL)
    for token in inventory.added.values():
        text, kind = added_entry(token, Family())
        table.set(token.id, text, kind)
    return table


def read_merges(model: Mapping[str, Any], source: str) -> list[tuple[str, str]]:
    """Return the merges of a BPE model as pairs, whichever way tokenizer.json writes them.

    Raises:
        TokenizerError: a merge is neither "a b" nor ["a", "b"].
    """
    merges = model.get("merges")
    if not isinstance(merges, list) or not merges:
        raise TokenizerError(
            f"{source} has no merges, without which BPE cannot join anything. {_NEXT}"
        )
    pairs: list[tuple[str, str]] = []
    for position, merge in enumerate(merges):
        halves = merge.split(" ") if isinstance(merge, str) else merge
        if (
            not isinstance(halves, list)
            or len(halves) != 2
            or not all(isinstance(h, str) and h for h in halves)
        ):
            raise TokenizerError(
                f"{source}: merge {position} is {merge!r}, but two texts were expected, as "
                f'"a b" or ["a", "b"]. {_NEXT}'
            )
        pairs.append((halves[0], halves[1]))
    return pairs


def check_merges(pairs: list[tuple[str, str]], vocab: Mapping[str, int], source: str) -> None:
    """Raise TokenizerError where a merge uses or makes a text that is no token."""
    for position, (left, right) in enumerate(pairs):
        for text in (left, right, left + right):
            if text not in vocab:
                raise TokenizerError(
                    f"{source}: merge {position} ({left!r}, {right!r}) needs the token {text!r}, "
                    "which "
                    f"the vocabulary lacks. {_NEXT}"
                )


def written_merges(pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return merges as llama.cpp reads them: halves joined by the one space in the string."""
    return tuple(
        f"{left.replace(' ', _SPACE_IN_MERGE)} {right.replace(' ', _SPACE_IN_MERGE)}"
        for left, right in pairs
    )
