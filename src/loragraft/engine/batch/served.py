"""What engines of an endpoint with a key and prices have in common; each adds its own protocol."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from loragraft.artifact.secret import Secret
from loragraft.engine.batch.endpoint import Endpoint
from loragraft.engine.batch.heard import Heard, Spent, cost_of, metered, refuse_cut
from loragraft.engine.batch.keys import check_url, read_key
from loragraft.engine.batch.protocol import Answer, Job, Load, Meter
from loragraft.engine.batch.refusals import Place
from loragraft.engine.batch.remote import Pace, Requests
from loragraft.engine.batch.specs import ServedSpec
from loragraft.engine.protocol import Finish

Spec = TypeVar("Spec", bound=ServedSpec)


class ServedEngine(ABC, Generic[Spec]):
    """A model of an endpoint; implements BatchEngine.

    Attributes:
        example: A good address, for messages.
        tails: Ends of an address that people give and that belong to its requests.
    """

    example: ClassVar[str]
    tails: ClassVar[tuple[str, ...]]

    def __init__(self, spec: Spec, *, pace: Pace | None = None) -> None:
        """Name the endpoint; nothing is sent yet.

        Args:
            spec: Which model, and how.
            pace: How fast; None as the spec says.

        Raises:
            UnavailableError: If its key is not in the environment.
            InputError: If address or key are none.
        """
        url = check_url(spec.url, self.example, *self.tails)
        key = read_key(spec.key, url)
        self._spec = spec
        self._place = Place(url, spec.model, spec.key)
        self._requests = Requests(
            pace or Pace(spec.concurrency, spec.retries, spec.requests_per_minute)
        )
        self._endpoint = Endpoint(
            self._place,
            self.headers(key),
            key,
            silence=spec.timeout,
            connections=spec.concurrency,
        )
        self._meter, self._spent = Meter(), Spent()

    @staticmethod
    @abstractmethod
    def headers(key: Secret | None) -> Mapping[str, str]:
        """Return the headers of every request."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the answers."""

    @abstractmethod
    def ask(self, job: Job, stop: threading.Event) -> Heard:
        """Send a job's request, and hear its answer.

        Raises:
            FailedError: If there is no answer, or it was stopped.
            LoragraftError: If none can come at all.
        """

    @abstractmethod
    def finish(self, heard: Heard) -> Finish:
        """Return why an answer ended.

        Raises:
            FailedError: If it is none.
        """

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

    def identity(self) -> dict[str, Any]:
        """Return endpoint and model: weights and versions of an endpoint cannot be seen."""
        return {"engine": self._spec.kind, "url": self._place.url, "model": self._spec.model}

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield answers, as :meth:`loragraft.engine.batch.protocol.BatchEngine.answers` says."""
        self._spent = Spent()
        running = self._requests.run(jobs, self._answer, self._spent.missing)
        yield from metered(self._meter, running)

    def _answer(self, job: Job, attempt: int, stop: threading.Event) -> Answer:
        heard = self.ask(job, stop)
        prices = self._spec.input_price, self._spec.output_price
        cost = self._spent.add(job, cost_of(heard.prompt_tokens, heard.tokens, *prices))
        finish = self.finish(heard)
        refuse_cut(self._place.url, job.messages, heard.prompt_tokens)
        reply = heard.reply(finish, job.sampling.stop)
        return Answer(job.id, "ok", reply, attempts=attempt, cost=cost)

    def close(self) -> None:
        """End what is under way, and close the connections."""
        self._requests.close()
        self._endpoint.close()
