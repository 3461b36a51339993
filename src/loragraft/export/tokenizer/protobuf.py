"""The few fields of a SentencePiece model file that an export needs.

The format is protobuf's wire format; field numbers from sentencepiece_model.proto
(github.com/google/sentencepiece). Reading them here saves a dependency on the sentencepiece
package, whose wheels trail Python's releases.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from loragraft.errors import TokenizerError


class PieceType(IntEnum):
    """SentencePiece.Type of sentencepiece_model.proto."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class ModelType(IntEnum):
    """TrainerSpec.ModelType of sentencepiece_model.proto."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(frozen=True)
class Piece:
    """One token of a SentencePiece model."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class SentencePieceModel:
    """Pieces in order of their ids, and the settings that decide how text is prepared."""

    pieces: tuple[Piece, ...]
    model_type: ModelType = ModelType.UNIGRAM
    byte_fallback: bool = False
    normalization: str = ""
    has_charsmap: bool = False
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def read_model(path: Path) -> SentencePieceModel:
    """Read a SentencePiece model file.

    Raises:
        TokenizerError: the file is truncated or is something else (Llama 3's tokenizer.model is a
            text file of byte pairs).
    """
    try:
        return _model(path.read_bytes())
    except (ValueError, IndexError, struct.error) as error:
        raise TokenizerError(
            f"{path} is no SentencePiece model, or is truncated ({error}). Download it again; if "
            "tokenizer.json beside it is complete, remove this file."
        ) from error


def _model(data: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    settings: dict[str, object] = {}
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            pieces.append(_piece(value))
        elif number == 2 and isinstance(value, bytes):
            settings.update(_trainer(value))
        elif number == 3 and isinstance(value, bytes):
            settings.update(_normalizer(value))
    if not pieces:
        raise ValueError("it holds no pieces")
    return SentencePieceModel(tuple(pieces), **settings)  # type: ignore[arg-type]


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, PieceType.NORMAL
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = PieceType(value)
    return Piece(text, score, kind)


def _trainer(data: bytes) -> Iterator[tuple[str, object]]:
    for number, value in _fields(data):
        if number == 3 and isinstance(value, int):
            yield "model_type", ModelType(value)
        elif number == 35:
            yield "byte_fallback", bool(value)


def _normalizer(data: bytes) -> Iterator[tuple[str, object]]:
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            yield "normalization", value.decode("utf-8")
        elif number == 2:
            yield "has_charsmap", bool(value)
        elif number == 3:
            yield "add_dummy_prefix", bool(value)
        elif number == 4:
            yield "remove_extra_whitespaces", bool(value)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers with whole numbers (wire type 0) or raw bytes (all others)."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if position + length > len(data):
            raise ValueError(f"a field of {length} bytes at byte {position} of {len(data)}")
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError(f"an endless number at byte {position}")
