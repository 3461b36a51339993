"""Anthropic's Messages API, asked many questions at a time; for judges above all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loragraft.artifact.secret import Secret
from loragraft.engine.batch.anthropic_pieces import finish_of, take_event
from loragraft.engine.batch.endpoint import RefusedError
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.batch.protocol import Answer, Job
from loragraft.engine.batch.refusals import broken, read_refusal
from loragraft.engine.batch.remote import Pace
from loragraft.engine.batch.served import ServedEngine
from loragraft.engine.batch.specs import AnthropicSpec
from loragraft.engine.protocol import Finish, Message, Sampling
from loragraft.errors import InputError

PATH = "/v1/messages"
VERSION = "2023-06-01"
"""Of the API: https://docs.anthropic.com/en/api/versioning"""
SOFT = {
    "temperature": "takes no temperature, so its answers differ from time to time",
    "top_p": "takes no top_p",
    "tool_choice": "cannot be held to a JSON schema",
}
"""Wishes that some models refuse by name, and what a user should know then."""
TOOL = "answer"


class AnthropicBatchEngine(ServedEngine[AnthropicSpec]):
    """A model of Anthropic's; implements BatchEngine."""

    example = "Give it as in https://api.anthropic.com."
    tails = (PATH, "/v1")

    def __init__(self, spec: AnthropicSpec, *, pace: Pace | None = None) -> None:
        """Name the endpoint; see :class:`ServedEngine`."""
        super().__init__(spec, pace=pace)
        self._out: set[str] = set()

    @staticmethod
    def headers(key: Secret | None) -> Mapping[str, str]:
        """Return the headers of every request."""
        return {"x-api-key": key.reveal() if key else "", "anthropic-version": VERSION}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the answers."""
        out = sorted(self._out)
        return (
            f"{self._spec.model} takes no seed: its answers may differ from time to time.",
            *(f"{self._spec.model} {SOFT[name]}." for name in out),
        )

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield answers, as :meth:`loragraft.engine.batch.protocol.BatchEngine.answers` says.

        Raises:
            InputError: Also if a job wishes what the API does not have.
        """
        for job in jobs:
            _check(job, self._spec.model)
        yield from super().answers(jobs)

    def finish(self, heard: Heard) -> Finish:
        """Return why an answer ended; see :meth:`ServedEngine.finish`."""
        return finish_of(heard, self._place)

    def ask(self, job: Job, stop: threading.Event) -> Heard:
        """Send a request; wishes that the model refuses by name are left out from then on."""
        if plain_text(job.messages) is not None:
            raise FailedError(
                "error", "Anthropic's API takes no prompt without a chat: choose chat: true."
            )
        while True:
            body = self._body(job)
            heard = Heard()
            try:
                for event in self._endpoint.events(PATH, body, stop):
                    take_event(heard, event, self._place, self._endpoint.hide)
                return heard
            except RefusedError as error:
                said = read_refusal(self._endpoint.hide(error.body))
                named = [name for name in SOFT if name in body and name in said.codes]
                if error.status != 400 or not named:
                    self._endpoint.refuse(error)
                    raise broken(self._place, "answers strangely") from None
                self._out.add(named[0])

    def _body(self, job: Job) -> dict[str, Any]:
        sampling = job.sampling
        system, turns = _split(job.messages)
        body: dict[str, Any] = {
            "model": self._spec.model,
            "messages": turns,
            "max_tokens": sampling.max_tokens,
            "stream": True,
            "temperature": sampling.temperature,
            # Of temperature and top_p newer models take one only.
            **({"top_p": sampling.top_p} if sampling.top_p != 1 else {}),
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            **({"system": system} if system else {}),
        }
        # Stop texts of white space are refused; all are watched for here as well.
        if stops := [stop for stop in sampling.stop if stop.strip()]:
            body["stop_sequences"] = stops
        if job.schema is not None and "tool_choice" not in self._out:
            tool = {"name": TOOL, "description": "Give the answer.", "input_schema": job.schema}
            body |= {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL}}
        return {name: value for name, value in body.items() if name not in self._out}


def _split(messages: Sequence[Message]) -> tuple[str, list[Mapping[str, str]]]:
    """Return the system's text and the other turns."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    turns: list[Mapping[str, str]] = [
        {"role": message["role"], "content": message["content"]}
        for message in messages
        if message["role"] != "system"
    ]
    return "\n\n".join(system), turns


def _check(job: Job, model: str) -> None:
    """Refuse wishes that the API does not have.

    Raises:
        InputError: Naming the first.
    """
    sampling = job.sampling
    neutral = Sampling()
    for name in ("min_p", "repeat_penalty"):
        value, usual = getattr(sampling, name), getattr(neutral, name)
        if value != usual:
            raise InputError(
                f"Anthropic's API has no {name}, and {value} is asked for. Set it to {usual}."
            )
    if sampling.temperature > 1:
        raise InputError(
            f"Anthropic's API takes temperatures from 0 to 1, and {sampling.temperature} is asked "
            "for."
        )
    if job.think:
        raise InputError(f"{model} is asked without thinking here: leave think out.")
