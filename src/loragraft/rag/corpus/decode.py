"""Bytes to text: which encoding, or why there is none."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from loragraft.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Longest first: the mark of UTF-32 begins with that of UTF-16."""

_MAGIC = (
    (b"%PDF-", "a PDF", ".pdf"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document, which is one)", ""),
    (b"\x1f\x8b", "compressed with gzip", ""),
    (b"BZh", "compressed with bzip2", ""),
    (b"\xfd7zXZ", "compressed with xz", ""),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", ""),
    (b"\x7fELF", "a program", ""),
    (b"MZ\x90", "a program", ""),
    (b"\x89PNG", "a picture", ""),
    (b"\xff\xd8\xff", "a picture", ""),
    (b"GIF8", "a picture", ""),
    (b"\xd0\xcf\x11\xe0", "an old Office document", ""),
    (b"{\\rtf", "a rich text document", ""),
    (b"SQLite format 3\x00", "a database", ""),
    (b"GGUF", "a GGUF model", ""),
)

_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_CONTROL_CHARACTERS = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
_ESCAPES = re.compile(rb"\x1b\$(?:[@AB]|\([CD]|\)C)")
_MOST_CONTROLS = 0.005
"""Share of control characters up to which a file counts as text: form feeds, bells and escape
sequences occur in logs; binary data has 10 % and more."""

_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH = re.compile(rb"[\x80-\xff]")
_BROKEN_UTF8 = 0.8
"""Share of bytes above 127 in well-formed sequences from which a text is UTF-8 with damage; in text
of another encoding such sequences are accidents."""

_LATIN = (
    *("cp1252", "iso-8859-15", "cp1250", "iso-8859-2", "cp1254", "cp1257", "mac-roman", "cp850"),
    "cp437",
)
_LATIN_SHARE = 0.3
"""Share of letters above 127 below which a text is in Latin script: Greek or Russian consists of
little else."""

_SAMPLE = 200_000
_SAME = {
    **dict.fromkeys(("iso-8859-1", "latin-1", "ascii", "us-ascii"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    **{"shift_jis": "cp932", "shift-jis": "cp932", "iso-8859-9": "cp1254", "euc-kr": "cp949"},
}
"""What browsers read under these names: the larger encoding that contains them."""


class Decoded(NamedTuple):
    """A text and the encoding it was in."""

    text: str
    encoding: str


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Return bytes as text.

    Args:
        data: A whole file.
        declared: What the file says its encoding is.

    Raises:
        InputError: If it is empty, no text, or in no encoding that fits; as the end of a sentence
            that begins with the file's name.
    """
    if not data.strip(b"\x00 \t\r\n\x0b\x0c"):
        raise InputError("is empty")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _checked(data, encoding)
    _check_magic(data)
    if guess := _wide(data):
        return _checked(data, guess)
    if found := _escaped(data):
        return found
    _check_controls(data)
    if declared and (found := _declared(data, declared)):
        return found
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        _check_damage(data, error)
    return _detected(data)


def _checked(data: bytes, encoding: str) -> Decoded:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"claims to be {encoding.upper()} but byte {error.start} does not fit; it is cut off "
            "or damaged: save it again as UTF-8"
        ) from None
    controls = len(_CONTROL_CHARACTERS.findall(text))
    if controls > max(2, len(text) * _MOST_CONTROLS):
        raise InputError(
            f"claims to be {encoding.upper()} but is binary data ({controls} control characters "
            f"of {len(text)}): leave it out or convert it to text"
        )
    return Decoded(text, encoding)


def _wide(data: bytes) -> str | None:
    """Recognise UTF-16 without a mark: every other byte of Western text is zero."""
    sample = data[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if half < 2 or len(data) % 2:
        return None
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _escaped(data: bytes) -> Decoded | None:
    """Recognise ISO-2022, which switches alphabets by escape sequences and is ASCII otherwise."""
    if not _ESCAPES.search(data) or not data.isascii():
        return None
    for encoding in ("iso2022_jp_2", "iso2022_kr"):
        try:
            return Decoded(data.decode(encoding), encoding)
        except UnicodeDecodeError:
            continue
    return None


def _check_magic(data: bytes) -> None:
    for magic, what, suffix in _MAGIC:
        if data.startswith(magic):
            step = f": name it *{suffix}" if suffix else ": convert it to text first"
            raise InputError(f"is {what} under a text's name{step}")


def _check_controls(data: bytes) -> None:
    controls = len(_CONTROL.findall(data))
    if controls > max(2, len(data) * _MOST_CONTROLS):
        raise InputError(
            f"is binary data under a text's name ({controls} control characters in {len(data)} "
            "bytes): leave it out or convert it to text"
        )


def _declared(data: bytes, declared: str) -> Decoded | None:
    name = declared.strip().lower().replace("_", "-")
    name = "utf-8" if name.startswith("utf-16") else _SAME.get(name, name)  # it was ASCII so far
    try:
        codecs.lookup(name)
        text = data.decode(name)
    except (LookupError, UnicodeError, ValueError):
        return None
    return Decoded(text, name) if isinstance(text, str) else None


def _check_damage(data: bytes, error: UnicodeDecodeError) -> None:
    high = len(_HIGH.findall(data))
    good = sum(len(found) for found in _SEQUENCE.findall(data))
    if good >= high * _BROKEN_UTF8:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"is UTF-8 with damage: byte {error.start} (line {line}) is 0x{data[error.start]:02x}; "
            "find where it was cut or mixed with another encoding, and save it again"
        )


def _detected(data: bytes) -> Decoded:
    import chardet

    sample = data[:_SAMPLE]
    names = [chardet.detect(sample)["encoding"]]
    if _is_latin(sample):
        names = [*_latin_only(names), chardet.detect(sample, include_encodings=_LATIN)["encoding"]]
        names.append("cp1252")
    for name in names:
        if name and (found := _plausible(data, name)):
            common = _plausible(data, "cp1252")  # where it means the same, by its usual name
            return common if common and common.text == found.text else found
    raise InputError(
        "is in no encoding that loragraft recognises: save it as UTF-8 (for instance with "
        "iconv -t UTF-8)"
    )


def _latin_only(names: list[str | None]) -> list[str | None]:
    known = {codecs.lookup(name).name for name in _LATIN}
    return [name for name in names if name and codecs.lookup(name).name in known]


def _is_latin(sample: bytes) -> bool:
    high = len(_HIGH.findall(sample))
    letters = len(re.findall(rb"[A-Za-z]", sample))
    return high < _LATIN_SHARE * (high + letters)


def _plausible(data: bytes, name: str) -> Decoded | None:
    """Decode where that gives text: no control characters, nothing undefined."""
    name = codecs.lookup(_SAME.get(name.lower(), name)).name
    try:
        text = data.decode(name)
    except (UnicodeError, LookupError):
        return None
    odd = len(re.findall("[\x80-\x84\x86-\x9f\ufffd\ue000-\uf8ff]", text))
    return None if odd > max(1, len(text) * _MOST_CONTROLS) else Decoded(text, name)
