"""Citations in an answer, in the forms that small models really write, and what they are not.

They were shown "[P3]" and write [P3], [p3], [P003], [3], [1, 2], [1-3], [Doc 3], (Doc 3), (P3),
[^3], <sup>3</sup>, superscripts, "according to Passage 3". Numbers in brackets that are none:
array indices and lists in code, years, intervals with 0, page numbers, exponents, and the
documents' own references that an answer repeats with the words before them.

A form is sure, or only possible. A sure one that names a passage never shown is fabricated; a
possible one counts only if the passage was shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from loragraft.rag.answering.citation_forms import KEYS, PLAIN, Body, parse_body
from loragraft.rag.answering.citation_places import code_spans, index_like, list_start
from loragraft.rag.answering.citation_places import exponent as is_exponent

BEFORE_QUOTE = 24
"""Characters before a number in brackets that must be a document's too, for it to be the
document's own reference repeated: about four words, of the same sentence."""
LEAST_QUOTE = 8
"""Fewer such characters say nothing."""
LARGEST = 999
"""A bare number above it is a year or a quantity, unless a passage has it."""


@dataclass(frozen=True)
class Citation:
    """One passage that an answer names in one place.

    Attributes:
        number: The passage's.
        text: What was written.
        start: Where it stands in the answer, in characters.
        stop: One past its end.
        known: Whether a passage of that number was shown.
        listed: Whether it stands in a list of sources at the end, not behind a statement.
    """

    number: int
    text: str
    start: int
    stop: int
    known: bool
    listed: bool = False


@dataclass(frozen=True)
class _Found:
    """A form in a text: where, what it names, and whether it can be nothing else."""

    start: int
    stop: int
    body: Body
    sure: bool


def parse_citations(
    answer: str, shown: Collection[int], material: Sequence[str] = ()
) -> list[Citation]:
    """Return an answer's citations in their order.

    Args:
        answer: What the model said, without its thinking.
        shown: Numbers of the passages that it was shown, now or earlier in the conversation.
        material: What it was shown, the question too: what it repeats from there is no citation.
    """
    text = answer.translate(PLAIN)
    quoted = [_squeeze(one.translate(PLAIN)) for one in material]
    listed_from = list_start(text)
    out: list[Citation] = []
    for found in _joined(text, _distinct(_forms(text))):
        numbers = _resolve(text, found, frozenset(shown), quoted)
        out += (
            Citation(
                number, answer[found.start : found.stop], found.start, found.stop,
                number in shown, found.start >= listed_from,
            )
            for number in numbers
        )  # fmt: skip
    return out


def fabricated(citations: Sequence[Citation]) -> list[int]:
    """Return the numbers of passages that were cited and never shown, each once."""
    return list(dict.fromkeys(one.number for one in citations if not one.known))


def cited(citations: Sequence[Citation]) -> list[int]:
    """Return the numbers of the shown passages that were cited, each once, in order."""
    return list(dict.fromkeys(one.number for one in citations if one.known))


_SQUARE = re.compile(r"\[{1,2}([^\[\]\n]{1,120})\]{1,2}")
_ROUND = re.compile(r"(?<!\d\])\(([^()\[\]\n]{1,120})\)")
_MARKED = re.compile(
    r"<(?:sup|ref|cite|source)>\s*([^<>\n]{1,40})\s*</(?:sup|ref|cite|source)>"
    r"|(?<![\d\s])\$?\^\{?([^\s{}^$\[\]]{1,12})(?:\}\$?|\^|\$)",
    re.IGNORECASE,
)
_BRACED = re.compile(r"\\?cite[pt]?\{([^{}\n]{1,40})\}|\{\s*(cite:[^{}\n]{1,40})\}", re.IGNORECASE)
_PROSE = re.compile(
    rf"\b(?:{KEYS})\s+(?:no\.?\s*|number\s+|#)?P?\d{{1,3}}"
    r"(?:(?:\s*,\s*|\s*-\s*|\s+and\s+|\s*,\s*and\s+)P?\d{1,3})*(?![\w%]|[.:]\d)",
    re.IGNORECASE,
)
_LINE = re.compile(
    rf"^[ \t*_(>-]{{0,8}}(?:{KEYS})[*_]{{0,2}} ?:[*_]{{0,2}} ?"
    r"(P?\d{1,3}(?:(?: ?[,;] ?| and )P?\d{1,3})*)[ .)]{0,4}$",
    re.IGNORECASE | re.MULTILINE,
)
"""A line such as "Sources: 1, 2"."""
_BARE = re.compile(r"(?<![\w\-])(?<![a-z]/)P\d{1,3}(?:\s?-\s?P\d{1,3})?(?!\w|[.:]\d)")
"""Not in an address (x.org/P1), and no version or pin (P1.0)."""
_SUPER_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁽⁾", "0123456789-()")
_SUPER = re.compile(r"⁽?[⁰¹²³⁴⁵⁶⁷⁸⁹](?:[⁻⁾⁽,\u02d2]*[⁰¹²³⁴⁵⁶⁷⁸⁹])*⁾?")


def _forms(text: str) -> Iterator[_Found]:
    """Yield every form, the most certain kinds first; they may overlap."""
    blocks, inline = code_spans(text)
    for pattern, kind in _KINDS:
        for match in pattern.finditer(text):
            body = _body(match, kind)
            if body is None or _inside(match.start(), blocks):
                continue
            if not body.strict and _inside(match.start(), inline):
                continue
            sure = _sure(text, match, kind, body)
            if sure is not None:
                yield _Found(match.start(), match.end(), body, sure)


_KINDS = (
    (_SQUARE, "square"), (_BRACED, "braced"), (_MARKED, "marked"), (_ROUND, "round"),
    (_SUPER, "super"), (_PROSE, "prose"), (_LINE, "prose"),
    (_BARE, "prose"),
)  # fmt: skip


def _body(match: re.Match[str], kind: str) -> Body | None:
    inside = next((group for group in match.groups() if group is not None), match[0])
    if kind == "super":
        inside = inside.translate(_SUPER_DIGITS).strip("()").replace("\u02d2", ",")
        inside = inside.replace(")(", ",")
    return parse_body(inside)


def _sure(text: str, match: re.Match[str], kind: str, body: Body) -> bool | None:
    """Return whether a form can be nothing but a citation; None where it is none."""
    if kind == "prose":
        return False
    if kind == "round":
        return True if body.explicit else None
    if kind in ("super", "marked"):
        if is_exponent(text, match.start()):
            return None
        return text[match.start() - 1 : match.start()] in tuple(".,;:!?\"'\u201d\u2019")
    if body.explicit or kind == "braced" or match[1].startswith("^"):
        return True
    attached = text[match.start() - 1 : match.start()].isalnum()
    if index_like(text, match.start(), match.end()):
        return None
    return not attached


def _distinct(forms: Iterator[_Found]) -> list[_Found]:
    """Leave out forms that lie in others which came before; return them in the text's order."""
    kept: list[_Found] = []
    taken: set[int] = set()
    for found in forms:
        places = range(found.start, found.stop)
        if taken.isdisjoint(places):
            taken.update(places)
            kept.append(found)
    return sorted(kept, key=lambda found: found.start)


def _joined(text: str, forms: list[_Found]) -> Iterator[_Found]:
    """Read "[1]-[3]" as the range that it is."""
    rest = iter(forms)
    current = next(rest, None)
    for following in rest:
        assert current is not None
        gap = text[current.stop : following.start]
        joined = None
        if gap.strip() == "-" and len(gap) <= 3 and current.sure and following.sure:
            joined = parse_body(f"P{current.body.ends[-1]}-P{following.body.ends[0]}")
        if joined is None:
            yield current
            current = following
            continue
        ends = current.body.ends + following.body.ends
        between = tuple(n for n in joined.between if n not in ends)
        body = Body(ends, current.body.between + between + following.body.between,
                    current.body.explicit, current.body.strict)  # fmt: skip
        current = _Found(current.start, following.stop, body, True)
    if current is not None:
        yield current


def _resolve(text: str, found: _Found, shown: frozenset[int], quoted: Sequence[str]) -> list[int]:
    """Return the passages that a form names: none where it repeats what was shown."""
    if _repeated(text, found, shown, quoted):
        return []
    ends = [n for n in found.body.ends if n in shown or (found.sure and _plausible(n, found.body))]
    if not ends:
        return _digits(text, found, shown)
    between = [n for n in found.body.between if n in shown]
    return list(dict.fromkeys([*ends, *between]))


def _plausible(number: int, body: Body) -> bool:
    return body.strict or number <= LARGEST


def _digits(text: str, found: _Found, shown: frozenset[int]) -> list[int]:
    """Return what superscripts name digit by digit: ¹² is 1 and 2 where there is no 12."""
    written = text[found.start : found.stop]
    if _SUPER.fullmatch(written) is None:
        return []
    digits = [int(one) for one in written.translate(_SUPER_DIGITS) if one.isdigit()]
    return list(dict.fromkeys(digits)) if shown.issuperset(digits) else []


def _repeated(text: str, found: _Found, shown: frozenset[int], quoted: Sequence[str]) -> bool:
    """Whether a form is repeated from what was shown.

    Our own labels are never a document's. What could be a passage's number is the document's only
    if the words before it are too.
    """
    if found.body.strict and found.sure:
        return False
    start = found.start
    if found.sure and shown.issuperset(found.body.ends):
        start = _words_before(text, start)
        if found.start - start < LEAST_QUOTE:
            return False
    elif not found.sure and text[start - 1 : start].isalnum():
        word = re.search(r"\w*$", text[max(0, start - BEFORE_QUOTE) : start])
        start -= len(word[0]) if word else 0
    piece = re.escape(_squeeze(text[start : found.stop]))
    before = r"(?<!\w)" if piece[:1].isalnum() else ""
    after = r"(?!\w)" if piece[-1:].isalnum() else ""
    return any(re.search(before + piece + after, one) for one in quoted)


def _words_before(text: str, stop: int) -> int:
    """Return where the words of a sentence begin that stand right before a place."""
    start = max(0, stop - BEFORE_QUOTE)
    ends = [text.rfind(mark, start, stop) + 1 for mark in ".!?:\n"]
    if start > 0 and max(ends) == 0:  # the middle of a sentence, perhaps of a word
        while start < stop and not text[start - 1].isspace():
            start += 1
    return max(start, *ends)


def _squeeze(text: str) -> str:
    """Return a text in one line and one case, without the marks of quoted lines."""
    return " ".join(re.sub(r"(?m)^> ?", "", text).split()).casefold()


def _inside(at: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= at < stop for start, stop in spans)
