"""What is learned of a chat template: its behaviour, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loragraft.ollama.template.probing import Gap
from loragraft.ollama.template.tree import Leaf, Tree

START, END = "start", "end"
ROLES = ("system", "user", "assistant")
THINK = {None: "unset", True: "on", False: "off"}

FEATURES = ("previous", "system", "asked", "place", "last", "reason", "think", "inside")
"""What a gap may depend on, the likeliest first.

previous: the role of the last message shown, or start.
system: filled, empty or none: the leading system message.
asked: yes where a user message was before.
place: before, at or after the last user message.
last: yes for the last message.
reason: yes where the message comes with its author's thoughts.
think: on, off or unset: the request's wish.
inside: yes where any system message stands after the first message.
"""


@dataclass(frozen=True)
class Trim:
    """Which characters are cut off a text's ends: all white space, or those given."""

    left: str = ""
    right: str = ""

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        text = _cut(text, self.left, str.lstrip)
        return _cut(text, self.right, str.rstrip)


ALL = "all"
"""Every character that Python's `strip` takes off."""


def _cut(text: str, which: str, strip: object) -> str:
    assert callable(strip)
    if not which:
        return text
    return str(strip(text) if which == ALL else strip(text, which))


NEVER: Tree[bool] = Leaf(False)


@dataclass(frozen=True)
class Thoughts:
    """How a template takes an answer apart into thoughts and words."""

    inline: bool = False
    """Content up to `</think>` is taken as thoughts."""
    whole: Tree[bool] = NEVER
    """Where content is left whole all the same."""
    field: bool = False
    """Messages may carry thoughts of their own."""
    words: Trim = Trim()
    """What is cut off words after thoughts that stood in the content."""
    reasons: Trim = Trim()
    """What is cut off thoughts."""


@dataclass(frozen=True)
class Gathered:
    """How several system messages become one."""

    which: str
    """first, last or all."""
    joint: str = ""
    """What stands between them."""


@dataclass(frozen=True)
class Model:
    """A chat template's behaviour."""

    gaps: Mapping[str, Tree[Gap]]
    """By what comes next, a role or end: the text before it, less what `closing` gives."""
    closing: Mapping[str, str]
    """By role: the text that follows its words in any case."""
    lefts: Mapping[str, Tree[str]]
    """By role: what is cut off the left of words, as in `Trim`."""
    rights: Mapping[str, Tree[str]]
    shown: Mapping[str, Tree[bool]]
    """By role: whether a message appears at all."""
    dropped_empty: frozenset[str]
    """Roles whose messages do not count where they are empty."""
    system_trim: Trim = Trim()
    thoughts: Thoughts = Thoughts()
    toggled: bool = False
    """The request's wish to think, or not to, changes the text."""
    gathered: Gathered | None = None
    """Set where system messages of any place are written at the start."""
    unseen: frozenset[str] = field(default_factory=frozenset)
    """What the template refuses: `system` at the start, roles."""

    @property
    def known(self) -> tuple[str, ...]:
        """Roles whose words the template writes in some place."""
        return tuple(role for role in ROLES if role in self.gaps)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Roles whose words the template takes, and never writes."""
        return tuple(role for role in ROLES if role in self.shown and role not in self.gaps)
