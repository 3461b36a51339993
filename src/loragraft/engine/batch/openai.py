"""Any endpoint that speaks OpenAI's chat completions, asked many questions at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loragraft.engine.batch.choices import Candidate, sums_of
from loragraft.engine.batch.endpoint import Endpoint, RefusedError
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard, Spent, cost_of, metered, refuse_cut
from loragraft.engine.batch.keys import check_url, read_key
from loragraft.engine.batch.openai_body import Wishes
from loragraft.engine.batch.openai_pieces import finish_of, take_piece
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.batch.protocol import Answer, Continuations, Job, Load, LogProbs, Meter
from loragraft.engine.batch.refusals import FILTERED, Place, broken, read_refusal
from loragraft.engine.batch.remote import Pace, Requests
from loragraft.engine.batch.specs import OpenAiSpec
from loragraft.engine.protocol import Sampling

CHAT, PLAIN = "/chat/completions", "/completions"
EXAMPLE = "Give it as in http://127.0.0.1:8080/v1."
CANDIDATES, FEW = 20, 5
"""First tokens whose probabilities are asked for: OpenAI's most, of chats and of plain prompts."""


class OpenAiBatchEngine:
    """A model of an endpoint; implements ProbabilityEngine where the endpoint shows any.

    Its tokenizer is not known, so it is no CountingEngine.
    """

    def __init__(self, spec: OpenAiSpec, *, pace: Pace | None = None) -> None:
        """Name the endpoint; nothing is sent yet.

        Args:
            spec: Which one, and how.
            pace: How fast; None as the spec says.

        Raises:
            UnavailableError: If its key is not in the environment.
            InputError: If address or key are none.
        """
        url = check_url(spec.url, EXAMPLE, CHAT, PLAIN)
        key = read_key(spec.key, url)
        self._spec = spec
        self._place = Place(url, spec.model, spec.key)
        self._wishes = Wishes(url, spec.model)
        self._requests = Requests(
            pace or Pace(spec.concurrency, spec.retries, spec.requests_per_minute)
        )
        self._endpoint = Endpoint(
            self._place,
            {"Authorization": f"Bearer {key.reveal()}"} if key else {},
            key,
            silence=spec.timeout,
            connections=spec.concurrency,
        )
        self._meter, self._spent = Meter(), Spent()

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self._spec.model

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together, as the user says."""
        return self._spec.context

    @property
    def load(self) -> Load:
        """What answering has cost so far."""
        return self._meter.load

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: which wishes the endpoint did not take."""
        return self._wishes.notes

    def identity(self) -> dict[str, Any]:
        """Return endpoint and model: weights and versions of an endpoint cannot be seen."""
        return {"engine": "openai", "url": self._place.url, "model": self._spec.model}

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield answers, as :meth:`loragraft.engine.batch.protocol.BatchEngine.answers` says."""
        self._spent = Spent()
        running = self._requests.run(jobs, self._answer, self._spent.missing)
        yield from metered(self._meter, running)

    def _answer(self, job: Job, attempt: int, stop: threading.Event) -> Answer:
        heard = self._ask(
            lambda: self._wishes.body(job.messages, job.sampling, job.think, job.schema), stop
        )
        prices = self._spec.input_price, self._spec.output_price
        cost = self._spent.add(job, cost_of(heard.prompt_tokens, heard.tokens, *prices))
        finish = finish_of(heard, self._place)
        refuse_cut(self._place.url, job.messages, heard.prompt_tokens)
        reply = heard.reply(finish, job.sampling.stop)
        return Answer(job.id, "ok", reply, attempts=attempt, cost=cost)

    def log_probs(self, wanted: Sequence[Continuations]) -> Iterator[LogProbs]:
        """Yield what the endpoint shows of the first token of each text.

        A text of several tokens has a sum of minus infinity, as one that is not among the
        likeliest.
        """

        def fail(item: Continuations, failed: FailedError, attempts: int) -> LogProbs:
            return LogProbs(item.id, failed.status, error=failed.words)

        yield from self._requests.run(wanted, self._log_probs, fail)

    def _log_probs(self, item: Continuations, attempt: int, stop: threading.Event) -> LogProbs:
        one = Sampling(temperature=0.0, max_tokens=1)
        chat = plain_text(item.messages) is None
        shown = {"logprobs": True, "top_logprobs": CANDIDATES} if chat else {"logprobs": FEW}
        heard = self._ask(
            lambda: {
                **self._wishes.body(item.messages, one, item.think, None),
                **shown,
            },
            stop,
        )
        refuse_cut(self._place.url, item.messages, heard.prompt_tokens)
        found = [Candidate.read(entry) for entry in heard.log_probs]
        candidates = [candidate for candidate in found if candidate is not None]
        if not candidates:
            raise FailedError(
                "error",
                f"{self._place.url} shows no probabilities (top_logprobs). Score by text, or by "
                "the embedded engine.",
            )
        return LogProbs(item.id, "ok", sums_of(candidates, item.texts), (1,) * len(item.texts))

    def _ask(self, body: Any, stop: threading.Event) -> Heard:  # noqa: ANN401 - makes a request
        """Send a request; wishes that the endpoint refuses by name are left out from then on."""
        while True:
            asked: Mapping[str, Any] = body()
            heard = Heard()
            path = PLAIN if "prompt" in asked else CHAT
            try:
                for piece in self._endpoint.events(path, asked, stop):
                    take_piece(heard, piece, self._place, self._endpoint.hide)
                return heard
            except RefusedError as error:
                said = read_refusal(self._endpoint.hide(error.body))
                filtered = any(mark in said.codes for mark in FILTERED)
                if filtered or not self._wishes.leave_out(asked, error.status, said):
                    self._endpoint.refuse(error)
                    raise broken(self._place, "answers strangely") from None

    def close(self) -> None:
        """End what is under way, and close the connections."""
        self._requests.close()
        self._endpoint.close()
