"""Control tokens in a document's text: broken, so that no tokenizer takes them as its own.

An engine that knows its vocabulary keeps them as text (:class:`loragraft.engine.conversation.
Literals`); servers and transformers take ``<|im_end|>`` in a passage as the end of the user's
turn. So they are broken before the chat template, by the shapes that all families' tokens have:
a space after the first bracket, which people and models read over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from loragraft.engine.conversation import Literals
from loragraft.rag.answering.folding import fold
from loragraft.rag.answering.visible import visible

LONGEST = 64
"""Characters inside a token's brackets; the longest of llama.cpp's vocabularies has 37."""

_WORDS = (
    "s|pad|unk|bos|eos|eod|eot|eom|eog|sep|cls|mask|sop|eop|eoh|eoa|beginoftext|endoftext|"
    "think|thinking|reasoning|analysis|final|system|user|assistant|human|bot|tool|tools|toolcall|"
    "function|functions|invoke|image|img|audio|video|ref|box|quad|patch|filename|reponame|pr|"
    "startoftext|endofturn|sentence|paragraph|document|context"
)
"""Words that stand between angle brackets as tokens: Llama 2, T5, Gemma, InternLM, Qwen-VL,
StarCoder, DeepSeek, and the tags that chat formats write as text."""

_CAPITALS = (
    "PRE|SUF|MID|EOT|EOM|BOS|EOS|PAD|UNK|CLS|SEP|MASK|END|START|SYS|INST|NAME|EMAIL|KEY|PASSWORD"
)
"""Further words, in capitals only: in small letters some are HTML."""

_SQUARE = (
    "INST|THINK|IMG|IMG_BREAK|IMG_END|PREFIX|MIDDLE|SUFFIX|AUDIO|ARGS|MASK|gMASK|sMASK|CLS|SEP|"
    "PAD|UNK|BOS|EOS|SYS|SYSTEM|USER|ASSISTANT|BOT|MODEL_SETTINGS"
)
"""Words between square brackets: Mistral's, BERT's, GLM's."""

SHAPES = (
    rf"<\|[^\s<>]{{0,{LONGEST}}}>",  # <|im_end|>, <|turn>
    rf"<[^\s<>|]{{1,{LONGEST}}}\|>",  # <turn|>
    rf"\[\|[^\s\[\]]{{1,{LONGEST}}}\]",  # [|endofturn|]
    r"<</?sys>>",
    rf"</?(?:{_WORDS})>",
    rf"(?-i:</?(?:{_CAPITALS})>)",
    rf"</?[a-z0-9:.-]{{0,{LONGEST}}}_[a-z0-9_:.-]{{0,{LONGEST}}}(?<!_t)>",  # <start_of_turn>
    r"<(?:unused|reserved|special|extra|image|audio|video|img|token|dummy|placeholder)[-_]?\d+>",
    r"</?[a-z]+:(?:think|bos|eos|pad)>",  # <seed:think>
    rf"\[/?(?:{_SQUARE})\]",
    r"(?-i:\[/?[A-Z]+_[A-Z_]+(?:_?\d+)?\])",  # [TOOL_CALLS]
    r"\[(?:pad|unused|unused_token|img)[-_]?\d+\]",  # Ollama looks for [img-0] in a prompt
    r"<(?:tool|function|parameter|invoke)=[^\s<>]{1,64}>",  # <function=name>
    r"\]~!?[a-z]?[\[\]]|\[e~\[|<\][a-z]+\[>",  # MiniMax: ]~b], ]~!b[, [e~[, <]image[>
    r"(?-i:>>[A-Z]+<<)",  # Falcon: >>QUESTION<<
)
"""What control tokens look like, in a text's skeleton and whatever their case. None allows white
space after its first character: that is how one is broken."""

_SHAPES = re.compile("|".join(SHAPES), re.IGNORECASE)

_BRACKETS = re.compile(r"[<\[\]>]")
"""The first characters of all shapes: a text without them is left at once."""


def find_controls(text: str) -> list[str]:
    """Return the parts of a text that look like control tokens, look-alikes among them."""
    return [text[start:stop] for start, stop in _spans(text)]


def neutralise(text: str, literals: Literals | None = None) -> str:
    """Return a document's text in which nothing is a control token of any family.

    Hidden characters are taken out; nothing else changes but for a space inside each such token.

    Args:
        text: Any text.
        literals: What finds the control tokens of the model's own vocabulary, where it is known:
            those of no common shape are broken too.
    """
    text = _break_shapes(visible(text))
    if literals is None:
        return text
    broken = _break_literals(text, literals)
    return text if broken == text else _break_shapes(broken)


def _break_shapes(text: str) -> str:
    """Break every shape; what a break uncovers is broken in the next round.

    Each round puts a space after at least one bracket, which no shape begins with afterwards.
    """
    while places := {text_start + 1 for text_start, _ in _spans(text)}:
        text = _with_spaces(text, places)
    return text


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where shapes stand in a text."""
    skeleton, places = fold(text)
    if _BRACKETS.search(skeleton) is None:
        return
    for found in _SHAPES.finditer(skeleton):
        yield places[found.start()], places[found.end() - 1] + 1


def _with_spaces(text: str, places: Iterable[int]) -> str:
    out: list[str] = []
    last = 0
    for place in sorted(places):
        out += [text[last:place], " "]
        last = place
    return "".join(out) + text[last:]


def _break_literals(text: str, literals: Literals) -> str:
    """Break the texts of a vocabulary's control tokens, as often as breaking uncovers others."""
    for _ in range(len(text)):
        parts = list(literals.split(text))
        if not any(control and _breakable(part) for part, control in parts):
            break
        text = "".join(
            f"{part[0]} {part[1:]}" if control and _breakable(part) else part
            for part, control in parts
        )
    return text


def _breakable(token: str) -> bool:
    """Whether a space makes a token's text another one; a single character has no inside."""
    return len(token) > 1 and not any(char.isspace() for char in token)
