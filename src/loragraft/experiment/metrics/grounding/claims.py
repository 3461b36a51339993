"""What an answer states, sentence by sentence, with the citations that belong to each.

ALCE (arXiv 2305.14627, §3.3) takes an answer's sentences as its statements and the citations within
a sentence as the statement's. Models also write citations behind the full stop or at a line's
beginning, and answer in lists; what is done with those stands at :func:`statements`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.rag.answering.citation_places import code_spans, list_start
from loragraft.rag.chunking.sentences import sentence_starts

VERSION = 1
"""Raised whenever an answer may get other statements."""
LEAD_WORDS = 4
"""Words of a lead such as "No, it did not." that belongs to the sentence behind it."""

_LINE = re.compile(r"[^\n]+")
_MARKER = re.compile(r"[ \t>]*(?:(?:[-*+•–]|\(?\d{1,3}[.)]|#{1,6})[ \t]+)*")  # noqa: RUF001
_ITEM = re.compile(r"\d{1,3}[.)][ \t]")
_HEADER = re.compile(r"[ \t>]*#{1,6}\s|[ \t]*(?:\*\*|__)[^*_\n]{1,80}(?:\*\*|__)\s*:?\s*$")
_LEAD = re.compile(
    r"(?:yes|no|true|false|correct|incorrect|right|wrong|ja|nein|oui|non|sí|si)\b", re.IGNORECASE
)
_LABEL = re.compile(
    r"(?:the\s+)?(?:short\s+|final\s+)?(?:answer|antwort|réponse)\s*:\s*", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?:according to|as (?:stated|said|reported|described) (?:in|by)|based on|in)\s*$",
    re.IGNORECASE,
)
_ENDED = tuple(".!?:;…。！？")  # noqa: RUF001


@dataclass(frozen=True)
class Statement:
    """One sentence of an answer.

    Attributes:
        text: Without its citations, marks of lists and emphasis.
        start: Where it begins in the answer, in characters.
        stop: One past its end.
        cited: Labels of the shown passages that it cites, each once, in order.
        fabricated: Labels that it cites and that no passage has, each once.
    """

    text: str
    start: int
    stop: int
    cited: tuple[str, ...] = ()
    fabricated: tuple[str, ...] = ()

    @property
    def has_citation(self) -> bool:
        """Whether it cites anything, shown or not."""
        return bool(self.cited or self.fabricated)


@dataclass(frozen=True)
class _Cite:
    start: int
    stop: int
    label: str
    known: bool
    written: str

    @property
    def marked(self) -> bool:
        """Whether it stands in brackets or as a superscript, so that the sentence needs it not."""
        return not self.written[:1].isalnum()


def statements(answer: str, citations: Sequence[Mapping[str, Any]] = ()) -> list[Statement]:
    """Return what an answer states.

    - A citation behind a sentence's end belongs to that sentence ("It rained. [P1] Then …"), unless
      its line begins with one: then each belongs to the sentence behind it.
    - A short "Yes." or "No, it did not." belongs to the sentence that follows.
    - Each item of a list is at least one sentence. Headers, lines that only announce a list, code,
      and a list of sources at the end state nothing.

    Args:
        answer: The text that is measured.
        citations: In it, as a sample has them: label, start, stop, known.
    """
    cites = _read(answer, citations)
    found: list[Statement] = []
    for start, stop in _lines(answer):
        within = [cite for cite in cites if start <= cite.start and cite.stop <= stop]
        found += _of_line(answer, start, stop, within)
    return _with_leads(answer, found)


def _read(answer: str, citations: Sequence[Mapping[str, Any]]) -> list[_Cite]:
    """Return citations that lie in the answer, in its order."""
    found = []
    for one in citations:
        start, stop = one.get("start"), one.get("stop")
        if isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop <= len(answer):
            label, known = str(one.get("label", "")), one.get("known") is True
            found.append(_Cite(start, stop, label, known, answer[start:stop]))
    return sorted(found, key=lambda cite: cite.start)


def _lines(answer: str) -> Iterator[tuple[int, int]]:
    """Yield where lines stand that state something; lines of one sentence are one."""
    blocks, _ = code_spans(answer)
    end = list_start(answer)
    pending: tuple[int, int] | None = None
    for line in _LINE.finditer(answer, 0, end):
        start, stop = line.span()
        if any(begin <= start < done for begin, done in blocks) or not _says(line[0]):
            continue
        if pending is not None and _goes_on(answer, pending, start):
            pending = (pending[0], stop)
            continue
        if pending is not None:
            yield pending
        pending = (start, stop)
    if pending is not None:
        yield pending


def _says(line: str) -> bool:
    """Whether a line states something: no header, no announcement of a list, not only marks."""
    plain = line.strip().rstrip("*_ ")
    return (
        any(char.isalnum() for char in plain)
        and _HEADER.match(line) is None
        and not (plain.endswith(":") and _LEAD.match(plain) is None)
    )


def _goes_on(answer: str, line: tuple[int, int], following: int) -> bool:
    """Whether a line is the rest of the one before: small letters after no full stop."""
    gap = answer[line[1] : following]
    before = answer[line[0] : line[1]].rstrip()
    after = answer[following : following + 8]
    small = after[:1].islower() or (after[:1].isdigit() and not _ITEM.match(after))
    return gap == "\n" and small and not before.endswith(_ENDED)


def _of_line(answer: str, start: int, stop: int, cites: list[_Cite]) -> Iterator[Statement]:
    marker = _MARKER.match(answer, start, stop)
    first = marker.end() if marker else start
    text = _without_marked(answer, cites)
    # "at 40 °C. Then": a letter alone looks like somebody's initial.
    begins = [first, *sentence_starts(text.replace("°C.", "°c."), first, stop)]
    begins = [at for at in begins if at < stop]
    leading = bool(cites) and cites[0].marked and not text[first : cites[0].stop].strip()
    for number, begin in enumerate(begins):
        end = begins[number + 1] if number + 1 < len(begins) else stop
        own = [cite for cite in cites if _belongs(text, cite, begin, end, leading)]
        said = _claim(answer, begin, end, cites)
        if any(char.isalnum() for char in said):
            yield _statement(said, begin, end, own)


def _without_marked(answer: str, cites: Sequence[_Cite]) -> str:
    """Return an answer of the same length with blanks in place of citations.

    One that is the subject of a sentence ("… ended. [P1] says …") is a capital letter instead, so
    that a sentence still begins there.
    """
    text = list(answer)
    for cite in cites:
        if not cite.marked:
            continue
        before = answer[: cite.start].rstrip()[-1:]
        after = answer[cite.stop :].lstrip(" ")[:1]
        subject = (not before or before in _ENDED) and after.islower()
        text[cite.start : cite.stop] = (
            "X" + "x" * (cite.stop - cite.start - 1) if subject else " " * (cite.stop - cite.start)
        )
    return "".join(text)


def _belongs(text: str, cite: _Cite, begin: int, end: int, leading: bool) -> bool:
    """Whether a citation belongs to the sentence between two places.

    Blanked citations stand at the end of the sentence before them, as all space does.
    """
    if not leading or text[cite.start : cite.stop].strip():
        return begin <= cite.start < end
    after = cite.stop + len(text[cite.stop :]) - len(text[cite.stop :].lstrip())
    return begin <= after < end or (after >= len(text) and begin <= cite.start < end)


def _claim(answer: str, begin: int, end: int, cites: Sequence[_Cite]) -> str:
    """Return a sentence without citations, emphasis and labels such as "Answer:"."""
    parts, at = [], begin
    for cite in cites:
        if begin <= cite.start and cite.stop <= end and cite.start >= at:
            before = answer[at : cite.start]
            parts.append(before if cite.marked else _NAMED.sub("", before))
            at = cite.stop
    text = " ".join([*parts, answer[at:end]])
    text = re.sub(r"\*\*|__|`|\s+", lambda mark: " " if mark[0].isspace() else "", text)
    text = re.sub(r"\s+([.,;:!?)\]])", r"\1", text).strip(" ,;")
    return _LABEL.sub("", text.lstrip("([ "), count=1).strip()


def _statement(said: str, begin: int, end: int, cites: Sequence[_Cite]) -> Statement:
    known = dict.fromkeys(cite.label for cite in cites if cite.known)
    unknown = dict.fromkeys(cite.label for cite in cites if not cite.known)
    return Statement(said, begin, end, tuple(known), tuple(unknown))


def _with_leads(answer: str, found: Sequence[Statement]) -> list[Statement]:
    """Put an answer's short lead before the sentence that follows it."""
    if len(found) < 2:
        return list(found)
    lead, following = found[0], found[1]
    short = len(lead.text.split()) <= LEAD_WORDS and _LEAD.match(lead.text) is not None
    if not short or lead.has_citation:
        return list(found)
    joined = Statement(
        f"{lead.text} {following.text}", lead.start, following.stop,
        following.cited, following.fabricated,
    )  # fmt: skip
    return [joined, *found[2:]]
