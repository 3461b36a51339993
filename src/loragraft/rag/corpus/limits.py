"""How much of a source is read at most."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of one document; what is beyond is reported and left out, never cut.

    Attributes:
        file_bytes: Of a file. A book of 1,000 pages has 2 MB of text; a hundred times that is a
            dump or a log, which nobody wants to search by meaning.
        pdf_bytes: Of a PDF, whose pictures count too.
        text_characters: Of the text in it.
        lines: Of the text in it. Prose has one for every 40 to 100 characters; what has millions
            is a list of data.
        record_bytes: Of one line of JSON.
        metadata_bytes: Of a document's metadata as JSON; every chunk carries them.
        pages: Of a PDF.
        seconds: To read one document.
        memory_bytes: Of the process that reads it.
        headings: Of one document.
    """

    file_bytes: int = 64 * MIB
    pdf_bytes: int = 256 * MIB
    text_characters: int = 32 * MIB
    lines: int = 2_000_000
    record_bytes: int = 64 * MIB
    metadata_bytes: int = 64 * 1024
    pages: int = 10_000
    seconds: float = 120.0
    memory_bytes: int = 2048 * MIB
    headings: int = 100_000
