"""SentencePiece BPE: token list, types and scores as llama.cpp's "llama" model reads them.

llama.cpp joins the neighbours whose union has the highest score. Those scores stand in
tokenizer.model; where a checkpoint has tokenizer.json alone, they follow from the order of its
merges. llama.cpp's converter sets them all to -1000 there, so that its files join the leftmost
pair first and give other ids than the model was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer.bpe import added_entry
from loragraft.export.tokenizer.families import Family
from loragraft.export.tokenizer.inventory import AddedToken, Inventory
from loragraft.export.tokenizer.protobuf import ModelType, PieceType, SentencePieceModel
from loragraft.export.tokenizer.table import ADDED_SCORE, TokenTable, TokenType

_BYTE_TEXT = re.compile(r"<0x[0-9A-F]{2}>")
_BYTES = 256
# The converter leaves user-defined pieces NORMAL unless the configuration lists them.
_PIECE_TYPES: Mapping[PieceType, TokenType] = {
    PieceType.NORMAL: TokenType.NORMAL,
    PieceType.UNKNOWN: TokenType.UNKNOWN,
    PieceType.CONTROL: TokenType.CONTROL,
    PieceType.USER_DEFINED: TokenType.NORMAL,
    PieceType.UNUSED: TokenType.UNUSED,
    PieceType.BYTE: TokenType.BYTE,
}


def check_model(model: SentencePieceModel, path: Path) -> None:
    """Raise TokenizerError where llama.cpp would not encode as this model does."""
    if model.model_type is not ModelType.BPE:
        raise TokenizerError(
            f"{path} is a SentencePiece model of type {model.model_type.name}, but llama.cpp's "
            '"llama" tokenizer merges pairs. Use a base whose SentencePiece model is of type BPE '
            "(Llama 1 and 2, Mistral, Gemma, Phi-3)."
        )
    if sum(piece.type is PieceType.BYTE for piece in model.pieces) < _BYTES:
        raise TokenizerError(
            f"{path} has no pieces for all {_BYTES} bytes (byte_fallback = {model.byte_fallback}), "
            "without "
            "which llama.cpp stops at the first unknown character. Train it with byte_fallback."
        )
    if model.remove_extra_whitespaces or (model.has_charsmap and model.normalization != "identity"):
        raise TokenizerError(
            f"{path} prepares text before it is split (normalization "
            f"{model.normalization or 'custom'!r}, remove_extra_whitespaces = "
            f"{model.remove_extra_whitespaces}), and llama.cpp does not. Use a base whose model is "
            "trained with normalization_rule_name=identity and remove_extra_whitespaces=false, as "
            "those of Llama, Mistral, Gemma and Phi-3 are."
        )


def table_from_model(model: SentencePieceModel, size: int) -> TokenTable:
    """Return the table of a tokenizer.model, padded with unused tokens to `size`."""
    table = TokenTable.padded(size)
    for token_id, piece in enumerate(model.pieces):
        table.set(token_id, piece.text, _PIECE_TYPES[piece.type], piece.score)
    return table


def table_from_json(
    inventory: Inventory, merges: Sequence[tuple[str, str]], unknown: object, size: int
) -> TokenTable:
    """Return the table of a SentencePiece-like tokenizer.json, scores from the merges' order."""
    scores = scores_from_merges(merges)
    lowest = ADDED_SCORE - len(scores)
    table = TokenTable.padded(size)
    for text, token_id in inventory.vocab.items():
        kind = TokenType.NORMAL
        if _BYTE_TEXT.fullmatch(text):
            kind = TokenType.BYTE
        elif text == unknown:
            kind = TokenType.UNKNOWN
        # llama.cpp's files have 0 for what no merge makes
        joined = len(text) > 1 and kind is TokenType.NORMAL
        table.set(token_id, text, kind, scores.get(text, lowest if joined else 0.0))
    return table


def scores_from_merges(merges: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Return -1, -2, -3 ... for the tokens in the order in which merges first make them.

    Only the order counts; SentencePiece numbers its BPE pieces in this way, too.
    """
    scores: dict[str, float] = {}
    for left, right in merges:
        scores.setdefault(left + right, -float(len(scores) + 1))
    return scores


def apply_added(
    table: TokenTable, added: Iterable[AddedToken], family: Family, *, keep_control: bool
) -> None:
    """Write added tokens over the model's pieces.

    `keep_control`: leave pieces that the model itself knows as control or unknown, with the same
    text, as they are.
    """
    for token in added:
        kind = table.types[token.id]
        known = (
            kind in (TokenType.CONTROL, TokenType.UNKNOWN)
            and table.texts[token.id] == token.content
        )
        if known and keep_control:
            continue
        text, kind = added_entry(token, family)
        table.set(token.id, text, kind, ADDED_SCORE)


def merge_warnings(
    merges: Sequence[tuple[str, str]], vocab: Mapping[str, int], ignored: Iterable[str]
) -> list[str]:
    """Say where merges are not SentencePiece's, so that llama.cpp may join what they do not.

    llama.cpp joins any two neighbours whose union is a token. A tokenizer.json made from a
    SentencePiece model has a merge for every such pair; others may not.
    """
    known = set(merges)
    skip = set(ignored)
    missing = [
        (text[:cut], text[cut:])
        for text in vocab
        if text not in skip and not _BYTE_TEXT.fullmatch(text)
        for cut in range(1, len(text))
        if text[:cut] in vocab and text[cut:] in vocab and (text[:cut], text[cut:]) not in known
    ]
    if not missing:
        return []
    left, right = missing[0]
    return [
        f"tokenizer.json has no merge for {len(missing)} pairs of tokens that llama.cpp will join, "
        "such "
        f"as {left!r} + {right!r}: the check of token ids decides whether that matters."
    ]
