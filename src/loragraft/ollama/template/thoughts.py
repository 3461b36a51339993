"""Learning what a chat template does with an answer's thoughts."""

from __future__ import annotations

from dataclasses import replace

from loragraft.ollama.template.model import FEATURES, THINK, Thoughts, Trim
from loragraft.ollama.template.probing import Prober
from loragraft.ollama.template.tree import Tree, grow
from loragraft.ollama.template.trimming import trim_around
from loragraft.ollama.template.words import Word, thinking_words

_LATE = Word(("user", "assistant"), thinker=1)
_EARLY = Word(("user", "assistant", "user"), thinker=1)
OPEN, CLOSE = "<think>", "</think>"


def learn_thoughts(prober: Prober) -> Thoughts:
    """Return how a template takes answers apart into thoughts and words."""
    if CLOSE not in prober.source and "reasoning_content" not in prober.source:
        return Thoughts()
    inline = any(_taken_apart(prober, word) for word in (_late(True), _early(True)))
    field = any(_seen(prober, word) for word in (_late(False), _early(False)))
    if not inline:
        return Thoughts(field=field)
    return Thoughts(
        inline=True,
        field=field,
        whole=_learn_whole(prober),
        words=_words_trim(prober),
        reasons=_reasons_trim(prober),
    )


def left_whole(prober: Prober, word: Word) -> bool:
    """Return whether a message with thoughts in its content comes out with its content as it is."""
    assert word.thinker is not None
    plain = prober.render(replace(word, thinker=None).messages(prober), word.think)
    reason, words = prober.sentinels.reason(word.thinker), prober.sentinels.content(word.thinker)
    content = f"{OPEN}\n\n{reason}\n\n{CLOSE}\n\n\n{words}"
    found = prober.render(
        replace(word, thinker=None).messages(prober, {word.thinker: content}), word.think
    )
    return plain is not None and found == plain.replace(words, content)


def _learn_whole(prober: Prober) -> Tree[bool]:
    """Return where content with thoughts is left whole."""
    samples = [
        (word.features(number, word.roles[number - 1]), left_whole(prober, word))
        for word in thinking_words(tuple(THINK), inline=True)
        if (number := word.thinker) is not None
    ]
    return grow(samples, FEATURES)


def _late(inline: bool) -> Word:
    return Word(_LATE.roles, thinker=1, inline=inline)


def _early(inline: bool) -> Word:
    return Word(_EARLY.roles, thinker=1, inline=inline)


def _plain(prober: Prober, word: Word) -> str | None:
    return prober.render(Word(word.roles).messages(prober))


def _taken_apart(prober: Prober, word: Word) -> bool:
    """Return whether thoughts in the content come out otherwise than as plain content."""
    plain, found = _plain(prober, word), prober.render(word.messages(prober))
    if plain is None or found is None or word.read(prober) is None:
        return False
    content = word.messages(prober)[1]["content"]
    return found != plain.replace(prober.sentinels.content(1), content)


def _seen(prober: Prober, word: Word) -> bool:
    """Return whether thoughts of their own change the text."""
    plain, found = _plain(prober, word), prober.render(word.messages(prober))
    return found is not None and found != plain and word.read(prober) is not None


def _words_trim(prober: Prober) -> Trim:
    """Return what is cut between `</think>` and the words."""
    word, sentinel = _EARLY, prober.sentinels.content(1)

    def render(left: str, right: str) -> str:
        content = f"{OPEN}{prober.sentinels.reason(1)}{CLOSE}{left}{sentinel}"
        return prober.render(Word(word.roles).messages(prober, {1: content})) or ""

    return trim_around(render, sentinel, right=False) or Trim()


def _reasons_trim(prober: Prober) -> Trim:
    """Return what is cut around thoughts."""
    word, sentinel = _LATE, prober.sentinels.reason(1)

    def render(left: str, right: str) -> str:
        content = f"{OPEN}{left}{sentinel}{right}{CLOSE}{prober.sentinels.content(1)}"
        return prober.render(Word(word.roles).messages(prober, {1: content})) or ""

    return trim_around(render, sentinel) or Trim()
