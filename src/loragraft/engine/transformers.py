"""transformers and PEFT as an engine, one conversation at a time.

It is the reference that other engines are measured against, not a fast one. Loading a base and
putting an adapter on it is the adapter room's business; here is what is done with the model.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loragraft.engine.answer_text import AnswerText, begins_thinking, tags_of
from loragraft.engine.conversation import THINKING_SWITCHES
from loragraft.engine.protocol import Finish, Message, OnText, Reply, Sampling
from loragraft.engine.sampling import Sampler
from loragraft.engine.transformers_answer import TokenText, Writing
from loragraft.errors import TemplateError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 2048
"""Where a configuration does not say."""


class TransformersEngine:
    """A loaded model with its tokenizer; see :class:`~loragraft.engine.protocol.PromptEngine`.

    Attributes:
        model: The model, ready to answer.
        name: What a person calls the model.
        context: Tokens that a conversation and its answer may have together.
        ends: Token ids at which an answer ends.
        tokenizer: transformers' own.
        template: The chat template in force; None where there is none.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a transformers or PEFT model
        tokenizer: Any,  # noqa: ANN401 - a transformers tokenizer
        *,
        template: str | None,
        name: str,
    ) -> None:
        """Take a model and the tokenizer that belongs to it.

        Args:
            model: A causal language model of transformers, or a ``PeftModel`` around one.
            tokenizer: Its tokenizer.
            template: The chat template in force.
            name: What a person calls the model.
        """
        self.model: Any = model.eval()
        self.tokenizer, self.template, self.name = tokenizer, template, name
        self.ends = _ends(model, tokenizer)
        said = getattr(model.config, "max_position_embeddings", None)
        self.context: int = said if isinstance(said, int) and said > 0 else DEFAULT_CONTEXT

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Let the base alone answer meanwhile; does nothing where there is no adapter."""
        switch = getattr(self.model, "disable_adapter", None)
        if switch is None:
            yield
            return
        with switch():
            yield

    def render(self, messages: Sequence[Message], *, think: bool | None = None) -> str:
        """Return the conversation as ``apply_chat_template`` writes it, the answer's turn opened.

        Raises:
            TemplateError: If there is no template, or it refuses these messages.
        """
        if self.template is None:
            raise TemplateError(
                f"{self.name} has no chat template. Save the tokenizer with one, or put a "
                "chat_template.jinja beside it."
            )
        switched = {} if think is None else dict.fromkeys(THINKING_SWITCHES, think)
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages], chat_template=self.template,
                tokenize=False, add_generation_prompt=True, **switched,
            )  # fmt: skip
        except Exception as error:  # a template is foreign code, and may fail in any way
            raise TemplateError(
                f"The chat template of {self.name} cannot be rendered for {len(messages)} messages "
                f"({type(error).__name__}: {error}). Look at the roles and their order."
            ) from error
        return str(text)

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the ids that ``apply_chat_template`` gives.

        Raises:
            TemplateError: As :meth:`render`.
        """
        return self.tokenize(self.render(messages, think=think))

    def tokenize(self, text: str, *, special: bool = False, literal: bool = False) -> list[int]:
        """Return a text's tokens.

        Args:
            text: Any; half a surrogate pair becomes a question mark, as llama.cpp reads it here.
            special: Whether what the tokenizer puts around a text belongs to it.
            literal: Whether control tokens' texts in it stay texts.
        """
        whole = text.encode("utf-8", "replace").decode()
        options = {"split_special_tokens": True} if literal else {}
        found = self.tokenizer(whole, add_special_tokens=special, **options)
        return [int(token) for token in found["input_ids"]]

    def log_probs(self, ids: Sequence[int], kept: int) -> NDArray[np.float32]:
        """Return the log-probabilities after each of the last positions.

        Args:
            ids: Tokens, at least one.
            kept: Positions wanted; all where there are fewer.

        Returns:
            Shape ``[positions, vocabulary]``.
        """
        import torch

        with torch.inference_mode():
            output = self.model(input_ids=self.tensor(ids), use_cache=False, **self.only_last(kept))
            logits = output.logits[0, -kept:].float()
            values: NDArray[np.float32] = torch.log_softmax(logits, dim=-1).cpu().numpy()
        return values

    def only_last(self, kept: int) -> dict[str, int]:
        """Return what asks for the logits of the last positions alone, where a model knows it.

        All of a long prompt would take gigabytes: 600 KB a position with 150,000 tokens.
        """
        return {"logits_to_keep": kept} if "logits_to_keep" in self.parameters else {}

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Names of what the model's own ``forward`` takes."""
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return frozenset(inspect.signature(inner.forward).parameters)

    def tensor(self, ids: Sequence[int]) -> torch.Tensor:
        """Return ids as a batch of one, where the model computes."""
        import torch

        return torch.tensor([list(ids)], device=next(self.model.parameters()).device)

    def next_log_probs(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the log-probability of every token after these ids, shape ``[vocabulary]``."""
        last: NDArray[np.float32] = self.log_probs(ids, 1)[-1]
        return last

    def tokens(self, ids: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """Yield the tokens that follow, without end: whoever asks stops at :attr:`ends`.

        Raises:
            InputError: If a setting of the sampling means nothing.
            BundleError: If the logits are not finite.
        """
        sampler, reader = Sampler(sampling), Reader(self)
        said, given = list(ids), list(ids)
        while True:
            token = sampler.choose(reader.read(given), said)
            yield token
            said.append(token)
            given = [token]

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        think: bool | None = None,
        on_text: OnText | None = None,
    ) -> Reply:
        """Answer a conversation; see :class:`~loragraft.engine.protocol.ChatEngine`.

        Raises:
            TemplateError: As :meth:`render`.
            InputError: As :meth:`tokens`.
        """
        prompt = self.render(messages, think=think)
        tags = tags_of(self.template or "")
        text = AnswerText(sampling.stop, tags, begun=begins_thinking(prompt, tags))
        said: list[int] = []
        times = [time.perf_counter()]
        ids = self.tokenize(prompt)
        try:
            finish = self._write(ids, sampling, text, said, times, on_text)
            _tell(text.finish(), on_text)
        except KeyboardInterrupt:
            finish = "cancelled"
            text.finish()
        now = time.perf_counter()
        first = times[1] if len(times) > 1 else now
        return Reply(
            text.text, text.thinking, finish, len(ids), len(said), first - times[0], now - first
        )

    def _write(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        text: AnswerText,
        said: list[int],
        times: list[float],
        on_text: OnText | None,
    ) -> Finish:
        """Write tokens into an answer until it ends; return why it did."""
        room = self.context - len(ids)
        writing = Writing(self.token_text, text, self.ends, most=sampling.max_tokens, room=room)
        if room < 1:
            return "context"
        for token in self.tokens(ids, sampling):
            times.append(time.perf_counter())
            said.append(token)
            pieces, finish = writing.take(token)
            _tell(pieces, on_text)
            if finish is not None:
                return finish
        return "context"

    def decode(self, tokens: Sequence[int]) -> str:
        """Return tokens as text, special ones left out but for the tags of thinking."""
        return self.token_text.decode(tokens)

    @cached_property
    def token_text(self) -> TokenText:
        """What turns tokens into text."""
        tags = tags_of(self.template or "")
        return TokenText(self.tokenizer, (tags.opening, tags.closing) if tags else ())

    def close(self) -> None:
        """Let go of the model, so that its memory can be freed."""
        self.model = None


class Reader:
    """Reads one conversation, and remembers what it has read."""

    def __init__(self, engine: TransformersEngine) -> None:
        """Begin with nothing."""
        self._engine = engine
        self._cache: Any = None

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read further tokens; return the logits of the next, shape ``[vocabulary]``."""
        import torch

        engine = self._engine
        # Not inference_mode: a model may keep what it computed, and be asked outside again.
        with torch.no_grad():
            result = engine.model(
                input_ids=engine.tensor(ids), past_key_values=self._cache, use_cache=True,
                **engine.only_last(1),
            )  # fmt: skip
        self._cache = result.past_key_values
        logits: NDArray[np.float32] = result.logits[0, -1].float().cpu().numpy()
        return logits


def _tell(pieces: Sequence[tuple[str, bool]], on_text: OnText | None) -> None:
    if on_text is not None:
        for piece, thinking in pieces:
            on_text(piece, thinking)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:  # noqa: ANN401
    """Return generation_config's end tokens and the tokenizer's."""
    settings = getattr(model, "generation_config", None)
    listed = getattr(settings, "eos_token_id", None)
    found = [*(listed if isinstance(listed, list) else [listed]), tokenizer.eos_token_id]
    return frozenset(int(token) for token in found if token is not None)
