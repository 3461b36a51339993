"""A model of an Ollama server, asked many questions at a time through the server's own API."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any
from unicodedata import normalize

from loragraft.engine.batch.choices import Candidate, sums_of
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard, Spent, metered, refuse_cut, seed_of
from loragraft.engine.batch.ollama_tokens import OllamaTokens, open_tokens
from loragraft.engine.batch.protocol import Answer, Continuations, Job, Load, LogProbs, Meter
from loragraft.engine.batch.refusals import count_of, text_of
from loragraft.engine.batch.remote import Pace, Requests
from loragraft.engine.batch.specs import OllamaSpec
from loragraft.engine.composition import COMPOSING
from loragraft.engine.ollama import OllamaEngine
from loragraft.engine.ollama_errors import DownError, SilentError
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Finish, Message, Sampling
from loragraft.errors import (
    BundleError,
    InputError,
    OutOfMemoryError,
    OutOfSpaceError,
    TemplateError,
    UnavailableError,
    UnsupportedError,
)

STEP = 256
"""Contexts are multiples of it: llama.cpp pads them so, and one token more shall not make a server
load the model anew."""
PROBE: tuple[Message, ...] = ({"role": "user", "content": "."},)
LONGEST = 10
"""Times the silence that is waited for, which one whole answer may take."""
TOLERANCE = 0.02
"""Share of a prompt's tokens by which a server's count may fall short without a cut: for some
newer models it has a tokenizer of its own, which differs here and there. A cut takes a half."""
CANDIDATES = 20
"""First tokens whose probabilities are asked for: the server's most."""
FOR_ALL = (BundleError, OutOfMemoryError, OutOfSpaceError, TemplateError, UnsupportedError)
"""Errors that the next question would meet as well."""


class OllamaBatchEngine:
    """A model of a server; implements ProbabilityEngine where the server shows probabilities."""

    def __init__(
        self,
        spec: OllamaSpec,
        server: OllamaServer,
        *,
        context: int | None = None,
        tokens: OllamaTokens | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Look the model up.

        Args:
            spec: Which one, and how.
            server: Where it is; closed with the engine.
            context: Tokens; None takes the specification's, or else the model's own.
            tokens: The model's tokenizer, where it is known: what the server read is held
                against it. Closed with the engine.
            pace: How fast; None as the spec says.

        Raises:
            InputError: If there is no such model.
            UnavailableError: If no server answers.
        """
        self._spec, self._server, self._tokens = spec, server, tokens
        self._engine = OllamaEngine(spec.model, server, context=spec.context or context)
        self._composes = _pre_tokenizer(server.show(spec.model)) in COMPOSING
        self._requests = Requests(pace or Pace(spec.concurrency, spec.retries))
        self._meter = Meter()

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._spec.model

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        return self._engine.context

    @property
    def load(self) -> Load:
        """What answering has cost so far; what the server's cache spared counts as read."""
        return self._meter.load

    def identity(self) -> dict[str, Any]:
        """Return the model's digest, the server's version, and what it was asked for.

        The digest is that of the manifest: of weights, template, system prompt and parameters.
        """
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        shown = self._server.show(self._spec.model)
        digest = digest_of(self._spec.model, self._server.models())
        return {
            "engine": "ollama",
            "model": self._spec.model,
            "digest": digest or _hashed(shown),
            "version": self._server.version(),
            # Parallel answers share batches, and so the last digits of their numbers.
            "concurrency": self._spec.concurrency,
            **({"context": self._spec.context} if self._spec.context else {}),
        }

    def rendered_prompt(
        self, messages: Sequence[Message], *, think: bool | None = None
    ) -> str | None:
        """Return a conversation as the server renders it; None where it does not show that.

        Raises:
            UnavailableError: If the server does not answer.
        """
        return self._server.render(self._spec.model, self._composed(messages), think=think)

    def _composed(self, messages: Sequence[Message]) -> list[Message]:
        """Return messages as the model's own tokenizer reads them: llama.cpp's does not compose."""
        return [
            {"role": message["role"], "content": normalize("NFC", message["content"])}
            if self._composes
            else message
            for message in messages
        ]

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield answers, as :meth:`loragraft.engine.batch.protocol.BatchEngine.answers` says."""
        yield from metered(self._meter, self._requests.run(jobs, self._answer, Spent().missing))

    def _answer(self, job: Job, attempt: int, stop: threading.Event) -> Answer:
        with _explained():
            messages = self._composed(job.messages)
            least = self._least(messages, job.think)
            heard = self._hear(replace(job, messages=tuple(messages)), stop)
            finish = _finish(heard, job.sampling.max_tokens)
        self._refuse_cut(messages, heard.prompt_tokens, least)
        return Answer(job.id, "ok", heard.reply(finish, job.sampling.stop), attempts=attempt)

    def _hear(self, job: Job, stop: threading.Event) -> Heard:
        heard = Heard()
        sampling = replace(job.sampling, seed=seed_of(job.sampling))
        pieces = self._server.chat(
            self._spec.model,
            job.messages,
            self._engine.options(sampling),
            think=job.think,
            schema=job.schema,
            silence=self._spec.timeout,
        )
        with closing(pieces):  # type: ignore[type-var]  # a generator: the connection ends here
            for piece in pieces:
                if stop.is_set():
                    raise FailedError("error", "It was stopped.")
                _take(heard, piece)
        if not heard.ended:
            raise FailedError(
                "error",
                f"Ollama at {self._server.url} ended the answer in the middle. Its log says why "
                "(ollama serve prints it; journalctl -u ollama).",
                passing=True,
            )
        return heard

    def _least(self, messages: Sequence[Message], think: bool | None) -> int | None:
        """Return how many tokens a prompt has at least; None where nobody knows.

        Raises:
            FailedError: If it is longer than the context.
            InputError: If the server would cut it.
        """
        if self._tokens is None:
            self._engine.refuse_to_be_cut(messages, think)
            return None
        least = sum(self._tokens.count(message["content"]) for message in messages)
        if least >= self.context:
            raise FailedError(
                "error",
                f"The prompt has {least} tokens and more, and the context {self.context}. Give "
                "fewer or shorter passages, or raise context in the experiment's engine.",
            )
        return least

    def _refuse_cut(
        self, messages: Sequence[Message], tokens: int | None, least: int | None
    ) -> None:
        who = f"Ollama at {self._server.url}"
        refuse_cut(who, messages, tokens)
        if least is not None and tokens and tokens < least * (1 - TOLERANCE) - len(messages):
            raise FailedError(
                "truncated",
                f"{who} read {tokens} tokens of a prompt of {least} and more: it cuts what does "
                f"not fit. Raise context (now {self.context}), or look at OLLAMA_CONTEXT_LENGTH "
                "and OLLAMA_NUM_PARALLEL there.",
            )

    def log_probs(self, wanted: Sequence[Continuations]) -> Iterator[LogProbs]:
        """Yield what the server shows of the first token of each text.

        A text of several tokens has a sum of minus infinity, as one that is not among the 20
        likeliest.
        """

        def fail(item: Continuations, failed: FailedError, attempts: int) -> LogProbs:
            return LogProbs(item.id, failed.status, error=failed.words)

        with closing(self._requests.run(wanted, self._log_probs, fail)) as found:
            yield from found

    def _log_probs(self, item: Continuations, attempt: int, stop: threading.Event) -> LogProbs:
        options = self._engine.options(Sampling(temperature=0.0, max_tokens=1))
        with _explained():
            messages = self._composed(item.messages)
            least = self._least(messages, item.think)
            probe = self._server.probe(
                self._spec.model, messages, CANDIDATES, options=options, think=item.think
            )
        self._refuse_cut(messages, probe.prompt_tokens, least)
        if not probe.chances:
            raise FailedError(
                "error",
                f"Ollama at {self._server.url} shows no probabilities (it does from 0.12.11). "
                "Update it, score by text, or use the embedded engine.",
            )
        candidates = [Candidate(chance.raw, chance.log_prob) for chance in probe.chances]
        return LogProbs(item.id, "ok", sums_of(candidates, item.texts), (1,) * len(item.texts))

    def close(self) -> None:
        """End what is under way, and close the connections."""
        self._requests.close()
        if self._tokens is not None:
            self._tokens.close()
        self._server.close()


class CountingOllamaEngine(OllamaBatchEngine):
    """One whose server shows the prompt and the vocabulary; implements CountingEngine."""

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of a conversation, as the server gives them to the model.

        Raises:
            UnavailableError: If the server does not answer, or shows the prompt no more.
        """
        text = self.rendered_prompt(messages, think=think)
        if text is None or self._tokens is None:
            raise UnavailableError(
                f"Ollama at {self._server.url} shows the prompt of {self.name} no more. Has "
                "another program taken its place?"
            )
        return self._tokens.prompt(text)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the server's errors into failures of one job, but for those that concern all."""
    try:
        yield
    except FOR_ALL:
        raise
    except InputError as error:
        raise FailedError("error", str(error)) from None
    except SilentError as error:
        raise FailedError("timeout", str(error), passing=True) from None
    except UnavailableError as error:
        ends = error if isinstance(error, DownError) else None
        raise FailedError("error", str(error), passing=True, ends=ends) from None


def _take(heard: Heard, piece: dict[str, Any]) -> None:
    message = piece.get("message")
    part = message if isinstance(message, dict) else piece
    said = part.get("content") or part.get("response")  # the latter of a plain prompt
    heard.take(text_of(said), text_of(part.get("thinking")))
    if piece.get("done"):
        heard.ended = True
        heard.finish = text_of(piece.get("done_reason"))
        heard.prompt_tokens = count_of(piece.get("prompt_eval_count"))
        heard.tokens = count_of(piece.get("eval_count"))


def _finish(heard: Heard, max_tokens: int) -> Finish:
    if heard.finish != "length":
        return "stop"
    written = max_tokens if heard.tokens is None else heard.tokens
    return "length" if written >= max_tokens else "context"


def digest_of(tag: str, models: Sequence[dict[str, Any]]) -> str | None:
    """Return a model's digest out of a server's list, whichever way its name is spelled."""
    for model in models:
        listed = _plain(str(model.get("name")))
        if listed in (_plain(tag), _plain(f"{tag}:latest")):
            digest = model.get("digest")
            return digest if isinstance(digest, str) and digest else None
    return None


def _plain(name: str) -> str:
    short = name.lower().removeprefix("registry.ollama.ai/")
    return short.removeprefix("library/")


def _pre_tokenizer(shown: dict[str, Any]) -> str:
    info = shown.get("model_info")
    return text_of(info.get("tokenizer.ggml.pre")) if isinstance(info, dict) else ""


def _hashed(shown: dict[str, Any]) -> str:
    """Return a hash of what is shown of a model, where the list has no digest of it."""
    kept = [str(shown.get(key) or "") for key in ("modelfile", "template", "system", "parameters")]
    return hashlib.sha256("\0".join(kept).encode("utf-8", "replace")).hexdigest()


def open_ollama(spec: OllamaSpec, context_needed: int | None = None) -> OllamaBatchEngine:
    """Open a model of an Ollama server.

    Args:
        spec: Which one, and how.
        context_needed: Tokens of the longest conversation with its answer; rounded up, it is
            ``num_ctx`` where the specification names none.

    Raises:
        InputError: If there is no such model, or the address is none.
        UnavailableError: If no server answers.
    """
    context = None if context_needed is None else -(-context_needed // STEP) * STEP
    with ExitStack() as stack:
        server = stack.enter_context(OllamaServer(spec.host, timeout=LONGEST * spec.timeout))
        engine = OllamaBatchEngine(spec, server, context=context)
        if (tokens := open_tokens(server, spec.model)) is not None:
            stack.enter_context(tokens)
            shows = server.render(spec.model, PROBE) is not None
            kind = CountingOllamaEngine if shows else OllamaBatchEngine
            engine = kind(spec, server, context=context, tokens=tokens)
        stack.pop_all()
        return engine
