"""PDF files for tests, written by hand: readable ones, broken ones and hostile ones."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path


def page_stream(lines: Sequence[str]) -> bytes:
    """Return a page's content that shows lines of text from the top."""
    shown = []
    for line in lines:
        escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        shown.append(f"({escaped}) Tj T*")
    return ("BT /F1 12 Tf 14 TL 72 760 Td " + " ".join(shown) + " ET").encode("cp1252")


def build_pdf(pages: Sequence[Sequence[str]], *, title: str = "") -> bytes:
    """Return a PDF with one content stream a page."""
    return pdf_of_streams([page_stream(page) for page in pages], title=title)


def pdf_of_streams(streams: Sequence[bytes], *, title: str = "", filters: int = 1) -> bytes:
    """Return a PDF whose pages have these contents, deflated so many times."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, stream in enumerate(streams):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        for _ in range(filters):
            stream = zlib.compress(stream, 9)
        names = "/FlateDecode " * filters
        head = f"<< /Length {len(stream)} /Filter [{names}] >>\nstream\n".encode()
        objects.append(head + stream + b"\nendstream")
    objects.append(f"<< /Title ({title}) >>".encode())
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    out = io.BytesIO(b"%PDF-1.5\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    table = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{place:010d} 00000 n \n".encode() for place in places)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>"
    out.write(f"trailer\n{trailer}\nstartxref\n{table}\n%%EOF\n".encode())
    return out.getvalue()


def add_bookmarks(path: Path, marks: Sequence[tuple[str, int]]) -> None:
    """Give a PDF bookmarks: titles and pages, counted from 0."""
    from pypdf import PdfWriter

    writer = PdfWriter(clone_from=path)
    for title, page in marks:
        writer.add_outline_item(title=title, page_number=page)
    writer.write(path)


def encrypt(path: Path, user: str) -> None:
    """Encrypt a PDF, with the cipher that needs no further package."""
    from pypdf import PdfWriter

    writer = PdfWriter(clone_from=path)
    writer.encrypt(user_password=user, owner_password="owner", algorithm="RC4-128")
    writer.write(path)
