"""Learning a chat template's behaviour from what it makes of conversations of sentinels."""

from __future__ import annotations

from collections.abc import Mapping

from loragraft.errors import TemplateError
from loragraft.ollama.template.fallback import fill
from loragraft.ollama.template.gathering import learn_gathered
from loragraft.ollama.template.go_text import common_start
from loragraft.ollama.template.model import FEATURES, ROLES, START, THINK, Model, Thoughts
from loragraft.ollama.template.probing import Gap, Prober
from loragraft.ollama.template.thoughts import learn_thoughts
from loragraft.ollama.template.tree import decide, grow
from loragraft.ollama.template.trimming import learn_system_trim, learn_trims
from loragraft.ollama.template.words import Word, plain_words, thinking_words

_COMMON = ("user", "user assistant user")


class _Samples:
    """What has been seen: gaps by what follows them, and whether messages appear."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self.gaps: dict[str, list[tuple[Mapping[str, str], Gap]]] = {}
        self.shown: dict[str, list[tuple[Mapping[str, str], bool]]] = {}

    def add(self, word: Word) -> None:
        """Learn from one conversation, unless the template refuses it."""
        reading = word.read(self._prober)
        if reading is None:
            return
        previous = START
        for number in range(len(word.roles) + 1):
            features, role = word.features(number, previous), word.following(number)
            if number < len(word.roles):
                self.shown.setdefault(role, []).append((features, reading.shown[number]))
                if not reading.shown[number]:
                    continue
            self.gaps.setdefault(role, []).append((features, reading.gaps[number]))
            previous = role


def learn(prober: Prober, strip_bos: str = "") -> Model:
    """Return a chat template's behaviour.

    Args:
        prober: the template.
        strip_bos: text that is left out at the very start of conversations.

    Raises:
        TemplateError: the template refuses every plain conversation, or its text cannot be laid
            out as messages with text between them.
    """
    if not _speaks(prober):
        prober.tools = []
        if not _speaks(prober):
            raise _untranslatable(prober)
    toggled = _toggled(prober)
    thoughts = learn_thoughts(prober)
    samples = _sampled(prober, tuple(THINK) if toggled else (None,), thoughts)
    if "user" not in samples.gaps:
        raise _untranslatable(prober)
    closing = {role: _closing(prober, role, samples.gaps) for role in ROLES}
    gaps, unseen = fill(
        {
            following: [(f, _cut(gap, closing.get(f["previous"], ""))) for f, gap in found]
            for following, found in samples.gaps.items()
        },
        closing,
    )
    lefts, rights = learn_trims(prober)
    return Model(
        gaps={
            following: grow([(f, _stripped(f, gap, strip_bos)) for f, gap in found], FEATURES)
            for following, found in gaps.items()
        },
        closing=closing,
        lefts=lefts,
        rights=rights,
        shown={role: grow(found, FEATURES) for role, found in samples.shown.items()},
        dropped_empty=frozenset(role for role in ROLES if _drops_empty(prober, role)),
        system_trim=learn_system_trim(prober),
        thoughts=thoughts,
        gathered=learn_gathered(prober),
        toggled=toggled,
        unseen=unseen,
    )


def _speaks(prober: Prober) -> bool:
    """Return whether the template takes any common conversation."""
    return any(
        prober.render(Word(tuple(order.split()), system).messages(prober)) is not None
        for system in ("none", "filled")
        for order in _COMMON
    )


def _untranslatable(prober: Prober) -> TemplateError:
    why = f" ({prober.refusal})" if prober.refusal else ""
    return TemplateError(
        f"the chat template refuses every conversation tried{why}, or does not write a user's "
        "words into the prompt as they are: it cannot be translated. Check that it is the "
        "model's own template."
    )


def _sampled(prober: Prober, thinks: tuple[bool | None, ...], thoughts: Thoughts) -> _Samples:
    samples = _Samples(prober)
    for word in plain_words(thinks):
        samples.add(word)
    for inline, learned in ((True, thoughts.inline), (False, thoughts.field)):
        for word in thinking_words(thinks, inline) if learned else ():
            if not (inline and _whole(word, thoughts)):
                samples.add(word)
    return samples


def _whole(word: Word, thoughts: Thoughts) -> bool:
    number = word.thinker or 0
    return decide(thoughts.whole, word.features(number, word.roles[number - 1]))


def _toggled(prober: Prober) -> bool:
    """Return whether the wish to think changes the text."""
    for order in (*_COMMON, "user assistant"):
        messages = Word(tuple(order.split()), "filled").messages(prober)
        for conversation in (messages, messages[1:]):
            if len({prober.render(conversation, think) for think in THINK}) > 1:
                return True
    return False


def _closing(
    prober: Prober, role: str, gaps: Mapping[str, list[tuple[Mapping[str, str], Gap]]]
) -> str:
    """Return the text that follows a role's words in any case.

    Without a prompt for the answer, a conversation ends with it: so it goes no further than the
    turn, even where all that may follow begins alike.
    """
    following = [
        gap for found in gaps.values() for features, gap in found if features["previous"] == role
    ]
    ends = [gap[0] if gap and isinstance(gap[0], str) else "" for gap in following]
    for order in ("user", "user assistant", "user system"):
        messages = Word(tuple(order.split())).messages(prober)
        text = prober.render(messages, prompt=False)
        sentinel = prober.sentinels.content(len(messages) - 1)
        if messages[-1]["role"] == role and text is not None and text.count(sentinel) == 1:
            ends.append(text.partition(sentinel)[2])
    return common_start(ends) if following else ""


def _cut(gap: Gap, closing: str) -> Gap:
    if not closing or not gap or not isinstance(gap[0], str) or not gap[0].startswith(closing):
        return gap
    first = gap[0][len(closing) :]
    return (first, *gap[1:]) if first else gap[1:]


def _stripped(features: Mapping[str, str], gap: Gap, bos: str) -> Gap:
    return _cut(gap, bos) if features["previous"] == START else gap


def _drops_empty(prober: Prober, role: str) -> bool:
    """Return whether an empty message counts as none."""
    orders = {
        "user": "user assistant user",
        "assistant": "user assistant user",
        "system": "user system user",
    }
    number = 2 if role == "user" else 1
    messages = Word(tuple(orders[role].split())).messages(prober, {number: ""})
    found = prober.render(messages)
    without = prober.render([m for index, m in enumerate(messages) if index != number])
    plain = prober.render(Word(tuple(orders[role].split())).messages(prober))
    if found is None or plain is None:
        return False
    return found == without and found != plain.replace(prober.sentinels.content(number), "")
