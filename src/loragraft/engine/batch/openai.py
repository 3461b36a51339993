"""Any endpoint that speaks OpenAI's chat completions, asked many questions at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loragraft.artifact.secret import Secret
from loragraft.engine.batch.choices import Candidate, sums_of
from loragraft.engine.batch.endpoint import RefusedError
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard, refuse_cut
from loragraft.engine.batch.openai_body import Wishes
from loragraft.engine.batch.openai_pieces import finish_of, take_piece
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.batch.protocol import Continuations, Job, LogProbs
from loragraft.engine.batch.refusals import FILTERED, broken, read_refusal
from loragraft.engine.batch.remote import Pace
from loragraft.engine.batch.served import ServedEngine
from loragraft.engine.batch.specs import OpenAiSpec
from loragraft.engine.protocol import Finish, Sampling

CHAT, PLAIN = "/chat/completions", "/completions"
CANDIDATES, FEW = 20, 5
"""First tokens whose probabilities are asked for: OpenAI's most, of chats and of plain prompts."""


class OpenAiBatchEngine(ServedEngine[OpenAiSpec]):
    """A model of an endpoint; implements ProbabilityEngine where the endpoint shows any.

    Its tokenizer is not known, so it is no CountingEngine.
    """

    example = "Give it as in http://127.0.0.1:8080/v1."
    tails = (CHAT, PLAIN)

    def __init__(self, spec: OpenAiSpec, *, pace: Pace | None = None) -> None:
        """Name the endpoint; see :class:`ServedEngine`."""
        super().__init__(spec, pace=pace)
        self._wishes = Wishes(self._place.url, spec.model)

    @staticmethod
    def headers(key: Secret | None) -> Mapping[str, str]:
        """Return the headers of every request."""
        return {"Authorization": f"Bearer {key.reveal()}"} if key else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: which wishes the endpoint did not take."""
        return self._wishes.notes

    def ask(self, job: Job, stop: threading.Event) -> Heard:
        """Send a job's request, and hear its answer; see :meth:`ServedEngine.ask`."""
        return self._ask(
            lambda: self._wishes.body(job.messages, job.sampling, job.think, job.schema), stop
        )

    def finish(self, heard: Heard) -> Finish:
        """Return why an answer ended; see :meth:`ServedEngine.finish`."""
        return finish_of(heard, self._place)

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
