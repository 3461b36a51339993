"""What every engine does: answer a conversation; some also show what happens inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Message(TypedDict):
    """One turn of a conversation, as chat templates read it."""

    role: str
    content: str


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the defaults change nothing but the temperature.

    Attributes:
        temperature: 0 takes the likeliest token every time.
        top_k: Number of candidates; 0 for all.
        top_p: Probability mass of candidates; 1 for all.
        min_p: Least probability of a candidate relative to the likeliest; 0 for none.
        repeat_penalty: Divisor on what was said before; 1 for none. Always sent: the default
            differs between engines.
        seed: Of the random numbers; None for another answer each time.
        max_tokens: Most tokens of an answer.
        stop: Texts that end an answer, beside the model's own end tokens.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None
    max_tokens: int = 512
    stop: tuple[str, ...] = ()


Finish = Literal["stop", "length", "context", "cancelled"]
"""Why an answer ended: by itself, at max_tokens, at the context's end, or by the user."""

OnText = Callable[[str, bool], None]
"""Hears each piece of an answer as it comes, and whether it is thinking."""


@dataclass(frozen=True)
class Reply:
    """A whole answer.

    Attributes:
        text: The answer, without what was thought before it.
        thinking: What was thought; empty where the model does not think.
        finish: Why it ended.
        prompt_tokens: Tokens of the rendered conversation.
        tokens: Tokens generated, thinking and the end token included.
        prompt_seconds: Until the first token.
        seconds: From the first token to the last; in a batch of this process without what was
            done for others alone.
    """

    text: str
    thinking: str
    finish: Finish
    prompt_tokens: int
    tokens: int
    prompt_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens after the first, a second; None for fewer than two."""
        return (self.tokens - 1) / self.seconds if self.tokens > 1 and self.seconds > 0 else None


class ChatEngine(Protocol):
    """Answers conversations."""

    @property
    def name(self) -> str:
        """What a person calls the model."""

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        think: bool | None = None,
        on_text: OnText | None = None,
    ) -> Reply:
        """Answer a conversation.

        Args:
            messages: The turns so far, the user's last.
            sampling: How tokens are chosen.
            think: Switch the template's thinking on or off; None leaves it as it is.
            on_text: Hears the answer while it comes; may raise KeyboardInterrupt, upon which the
                answer so far is returned with the finish "cancelled".
        """

    def close(self) -> None:
        """Free what is held."""


class PromptEngine(ChatEngine, Protocol):
    """An engine that shows the text, the tokens and the distribution behind an answer."""

    def render(self, messages: Sequence[Message], *, think: bool | None = None) -> str:
        """Return the conversation as the model reads it, ending where the answer begins."""

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of :meth:`render`'s text, as the model is given them."""

    def next_log_probs(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the log-probability of every token after these ids, shape [vocabulary]."""
