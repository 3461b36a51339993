"""Encodings are recognised, and what is no text is called by its name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.rag.corpus.decode import decode

_TEXTS = [
    ("cp1252", "Où êtes-vous allé cet été ? Nous étions à la plage près de Marseille."),
    ("cp1252", "Die Größe der Tür ist für große Schränke geeignet. Übrigens schön."),
    ("cp1252", "Café crème"),
    ("cp1252", "He said \u201chello\u201d and it\u2019s \u2013 fine \u2026 ok"),
    ("cp1252", "plain text " * 50 + "café " + "plain text " * 50),
    ("cp1250", "Zażółć gęślą jaźń, proszę pana. Dziękuję bardzo za przybycie."),
    ("cp1251", "Привет, как дела? Это проверка кодировки текста."),
    ("koi8-r", "Привет, как дела? Это проверка кодировки текста."),
    ("cp1253", "Αυτό είναι ένα δοκιμαστικό κείμενο για την κωδικοποίηση."),  # noqa: RUF001
    ("shift_jis", "これは日本語のテキストです。文字コードの判定を試験しています。"),
    ("euc_jp", "これは日本語のテキストです。文字コードの判定を試験しています。"),
    ("iso2022_jp", "これは日本語のテキストです。"),
    ("gb18030", "这是一个中文文本,用于测试编码检测的准确性。"),
    ("big5", "這是一個中文文本,用於測試編碼檢測的準確性。"),
    ("euc_kr", "이것은 인코딩 감지를 테스트하기 위한 한국어 텍스트입니다."),
    ("utf-16", "Mit Marke: Größe."),
    ("utf-32", "Mit Marke: Größe."),
    ("utf-16-le", "Without a mark, but it is plain English text."),
    ("utf-16-be", "Without a mark, but it is plain English text."),
    ("utf-8-sig", "Größe."),
]


@pytest.mark.parametrize(("encoding", "text"), _TEXTS)
def test_text_in_many_encodings_is_read(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)).text == text


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
@settings(max_examples=60, deadline=None)
def test_whatever_is_utf8_is_read_as_it(text: str) -> None:
    if not text.strip("\x00 \t\r\n\x0b\x0c") or text.startswith(("{\\rtf", "\ufeff")):
        return
    assert decode(text.encode()).text == text


@given(data=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_become_text_or_a_reason(data: bytes) -> None:
    try:
        found = decode(data)
    except InputError:
        return
    assert "\x00" not in found.text or data.count(0) <= 3 or found.encoding.startswith("utf")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b" \n\t\r\n", "is empty"),
        (b"\x00" * 5000, "is empty"),
        (b"%PDF-1.7 rest", "is a PDF under a text's name"),
        (b"PK\x03\x04" + b"x" * 50, "is a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "is a picture"),
        (b"\x7fELF" + b"\x00\x01" * 50, "is a program"),
        (random.Random(7).randbytes(4000), "is binary data"),
        ("Gr\u00f6\u00dfe. ".encode() * 20 + b"\xe9 bad", "UTF-8 with damage: byte 180 (line 1)"),
        ("abc\u00e9".encode("utf-16") + b"x", "does not fit"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(data: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(data)
    assert reason in str(caught.value)


def test_a_declared_encoding_is_believed_where_it_fits() -> None:
    data = "Ţară şi ţânţar".encode("iso-8859-2", "replace")
    assert decode(data, "iso-8859-2").text == data.decode("iso-8859-2")
    assert decode("caf\u00e9 \u201cx\u201d".encode("cp1252"), "ISO-8859-1").text == "café “x”"
    assert decode("Größe".encode(), "no-such-encoding").text == "Größe"
    assert decode(b"plain", "base64").text == "plain"  # a codec that gives no text
