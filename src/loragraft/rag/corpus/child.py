"""The process that reads files: requests on standard input, answers on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from loragraft.errors import InputError
from loragraft.rag.corpus.decode import Decoded, decode
from loragraft.rag.corpus.extracted import Extracted
from loragraft.rag.corpus.limits import Limits
from loragraft.rag.corpus.worker import too_much_memory

_ENCODING = "encoding"


def main() -> None:
    """Answer requests until there are no more."""
    limits = Limits(**json.loads(sys.argv[1]))
    # Libraries that print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    _bound_memory(limits.memory_bytes)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), limits)), file=answers, flush=True)


def _bound_memory(most: int) -> None:
    """Set the system's own bound, where it has one; elsewhere the other side watches."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass


def _answer(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    try:
        return extract(request, limits).as_json()
    except InputError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": too_much_memory(limits)}
    except RecursionError:
        return {"error": "is nested too deeply to be a document"}
    except OSError as error:
        return {"error": f"cannot be read: {error.strerror or error}"}


def extract(request: Mapping[str, Any], limits: Limits) -> Extracted:
    """Read a file or a text.

    Raises:
        InputError: If it cannot be read.
    """
    kind = request["kind"]
    if kind == "pdf":
        from loragraft.rag.corpus.pdf import extract_pdf

        return extract_pdf(request["path"], limits)
    decoded = _text(request, limits)
    found = _structured(kind, decoded.text, limits)
    if decoded.encoding in ("utf-8", "utf-8-sig", "ascii"):
        return found
    return found._replace(metadata={**found.metadata, _ENCODING: decoded.encoding})


def _text(request: Mapping[str, Any], limits: Limits) -> Decoded:
    if "text" in request:
        return Decoded(request["text"], "utf-8")
    with open(request["path"], "rb") as file:
        data = file.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise InputError("grows while it is read: index it when it is complete")
    declared = None
    if request["kind"] == "html":
        from loragraft.rag.corpus.html import declared_encoding

        declared = declared_encoding(data)
    return decode(data, declared)


def _structured(kind: str, text: str, limits: Limits) -> Extracted:
    if kind == "html":
        from loragraft.rag.corpus.html import extract_html

        return extract_html(text.encode("utf-8", "replace").decode(), limits.headings)
    if kind == "markdown":
        from loragraft.rag.corpus.markdown import extract_markdown

        return extract_markdown(text.encode("utf-8", "replace").decode(), limits.headings)
    from loragraft.rag.corpus.plain import extract_plain

    return extract_plain(text, limits.headings)


if __name__ == "__main__":
    main()
