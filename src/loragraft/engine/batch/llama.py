"""llama.cpp in this process, many conversations in one batch: the embedded default.

An answer depends on its job, the file, the width and the library alone. See
:mod:`~loragraft.engine.batch.llama_slots` for what keeps conversations apart, and
:mod:`~loragraft.engine.batch.llama_reading` for what they share.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.memory_peak import memory_peak
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.checkpoint.gguf_chat import chat_facts
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.engine.answer_text import AnswerText
from loragraft.engine.batch.clock import WritingClock
from loragraft.engine.batch.llama_grammar import SchemaRule
from loragraft.engine.batch.llama_probabilities import read_probabilities
from loragraft.engine.batch.llama_reading import PART, PromptReader, plan_sharing
from loragraft.engine.batch.llama_slots import MOST, LlamaSlots, cells
from loragraft.engine.batch.llama_width import choose_width, needed_bytes
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.batch.protocol import Answer, Continuations, Job, Load, LogProbs, Meter
from loragraft.engine.batch.specs import LlamaSpec
from loragraft.engine.llama import DEFAULT_CONTEXT, LlamaEngine
from loragraft.engine.llama_answer import LlamaAnswer
from loragraft.engine.llama_model import LlamaModel
from loragraft.engine.protocol import Finish, Message, Sampling
from loragraft.errors import InputError, LoragraftError, UnavailableError

_ALONE = (
    "On this machine a conversation's place in a batch of {width} changes its numbers, so that "
    "conversations are answered one at a time. A width of 1 is faster here; others may be."
)


@dataclass
class _Waiting:
    """A job that was made ready."""

    job: Job
    prompt: list[int]
    needed: list[int] = field(default_factory=list)


@dataclass
class _Writing:
    """A job that is being answered."""

    job: Job
    answer: LlamaAnswer
    rule: SchemaRule | None
    since: float

    @property
    def row(self) -> tuple[int, int]:
        """The token to be read next, and how many stand before it."""
        return self.answer.said[-1], len(self.answer.said) - 1

    def close(self) -> None:
        """Free what llama.cpp holds for it."""
        if self.rule is not None:
            self.rule.close()


class LlamaBatchEngine(LlamaEngine):
    """A bundle's or bare file's model, answering many conversations at once in this process.

    Control tokens' texts in messages stay texts.

    Attributes:
        width: Conversations in one batch.
    """

    _too_long = "Choose a larger one (context), or shorten the prompt."

    def __init__(
        self,
        model: LocalModel,
        *,
        context: int,
        width: int,
        threads: int = 0,
        gpu_layers: int | None = 0,
        whole: bool = False,
    ) -> None:
        """Check the file, in a child process too, then load it.

        Args:
            model: As :func:`~loragraft.checkpoint.bundle.open_model` gives it.
            context: Tokens of each conversation with its answer.
            width: Conversations in one batch.
            threads: 0 for all cores.
            gpu_layers: Layers that a GPU computes; None for all, where there is one.
            whole: Refuse a job whose answer might not fit into the context, instead of ending the
                answer there: then no answer depends on the context.

        Raises:
            LoragraftError: As :class:`~loragraft.engine.llama.LlamaEngine` does.
        """
        if not 1 <= width <= MOST:
            raise InputError(f"The width is {width}; it must be from 1 to {MOST}.")
        self.width, self._whole = width, whole
        self._meter, self._clock, self._busy_since = Meter(), WritingClock(), 0.0
        super().__init__(
            model, context=context, threads=threads, literal=True, gpu_layers=gpu_layers
        )
        self._live = self._usable_slots()

    def _load(self, threads: int, gpu_layers: int) -> LlamaModel:
        path = self.model.gguf
        with GgufFile(path) as file:
            needed = needed_bytes(file, self._context, self.width)
        require_memory(
            needed,
            f"{path.name} with {self.width} conversations of {self._context} tokens",
            "Choose a smaller width or context, a smaller quantization (quant), or close other "
            "programs.",
        )
        self._slots = LlamaSlots(
            path, context=self._context, width=self.width, threads=threads, gpu_layers=gpu_layers
        )
        self._gpu_layers = gpu_layers
        return self._slots

    def _usable_slots(self) -> int:
        try:
            alike = self._slots.rows_agree()
        except BaseException:
            self.close()
            raise
        if not alike:
            self.notes += (_ALONE.format(width=self.width),)
        return self.width if alike else 1

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of a conversation, or of a plain prompt as it stands.

        Raises:
            TemplateError: If there is no template, or it refuses these messages.
            InputError: If a plain prompt stands among turns.
        """
        plain = plain_text(messages)
        if plain is None:
            return super().prompt_ids(messages, think=think)
        return self._slots.tokenize(self._checked.prepare(plain), special=False, whole=True)

    def _text(
        self, messages: Sequence[Message], sampling: Sampling, think: bool | None
    ) -> AnswerText:
        if plain_text(messages) is None:
            return super()._text(messages, sampling, think)
        return AnswerText(sampling.stop, self._tags, begun=False)

    @property
    def load(self) -> Load:
        """What answering has cost so far."""
        return self._meter.load

    def identity(self) -> dict[str, Any]:
        """Return what decides an answer beside its job."""
        from importlib.metadata import version

        import llama_cpp

        known = {
            "kind": "llama",
            "sha256": cached_sha256(self.model.gguf),
            "width": self.width,
            "part": PART,
            "gpu_layers": self._gpu_layers,
            "llama-cpp-python": version("llama-cpp-python"),
            "processor": llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(),
            "stops": sorted(self.stops.ids),
        }
        return known if self._whole else known | {"context": self._context}

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield each job's answer as it is ready, those with much in common together.

        Raises:
            InputError: If two jobs have one id.
            UnavailableError: If it is still answering, or was closed.
            BundleError: If the computation fails.
            KeyboardInterrupt: If the user interrupts.
        """
        if len({job.id for job in jobs}) < len(jobs):
            raise InputError("Two jobs have the same id; each needs one of its own.")
        with self._alone():
            waiting: list[_Waiting] = []
            for job in jobs:
                try:
                    waiting.append(_Waiting(job, self._prompt_of(job)))
                except LoragraftError as error:
                    yield Answer(job.id, "error", None, str(error))
            yield from self._answer_all(_sorted(waiting))

    def _prompt_of(self, job: Job) -> list[int]:
        ids = self._fitting_ids(job.messages, job.think)
        most = len(ids) + job.sampling.max_tokens
        if self._whole and most > self._context:
            raise InputError(
                f"Prompt and answer may have {most} tokens together, and {self.name} was loaded "
                f"with a context of {self._context}. {self._too_long}"
            )
        return ids

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second caller out, and leave nothing behind."""
        if self._busy_since:
            raise UnavailableError(
                f"{self.name} is still answering others: take all their answers, or close that "
                "generator first."
            )
        self._busy_since = time.perf_counter()
        try:
            self._slots.forget_all()
            yield
        finally:
            self._busy_since = 0.0

    def _answer_all(self, waiting: list[_Waiting]) -> Iterator[Answer]:
        writing: list[_Writing | None] = [None] * self.width
        usable = range(self._live)
        reader = PromptReader(self._slots)
        waiting.reverse()
        try:
            while waiting or any(writing):
                for slot in usable:
                    while writing[slot] is None and waiting:
                        begun = self._begin(slot, waiting.pop(), reader)
                        if isinstance(begun, Answer):
                            yield begun
                        else:
                            writing[slot] = begun
                if any(writing):
                    yield from self._go_on(writing)
        finally:
            for each in filter(None, writing):
                each.close()

    def _begin(self, slot: int, waiting: _Waiting, reader: PromptReader) -> _Writing | Answer:
        """Read a prompt and choose the first token."""
        job = waiting.job
        start = time.perf_counter()
        try:
            rule = None if job.schema is None else SchemaRule(self._slots, job.schema)
            answer = self._answer(job.messages, job.sampling, job.think, rule=rule)
        except LoragraftError as error:
            return Answer(job.id, "error", None, str(error))
        writing = _Writing(job, answer, rule, self._clock.seconds)
        answer.begin(waiting.prompt)
        read = reader.read(slot, waiting.prompt, waiting.needed)
        done = _take(writing, read.logits)
        self._meter.add(
            prompt=len(waiting.prompt) - read.shared,
            shared=read.shared,
            tokens=1,
            seconds=time.perf_counter() - start,
            peak=memory_peak(),
        )
        return done or writing

    def _go_on(self, writing: list[_Writing | None]) -> Iterator[Answer]:
        """Write one more token of every answer."""
        before, ended = self._clock.seconds, []
        with self._clock.going():
            rows = [None if each is None else each.row for each in writing]
            logits = self._slots.step(rows)
            for slot, each in enumerate(writing):
                done = None if each is None else _take(each, logits[slot])
                if each is not None and done is not None:
                    writing[slot] = None
                    ended.append((done, each.since))
        tokens = sum(row is not None for row in rows)
        self._meter.add(tokens=tokens, seconds=self._clock.seconds - before)
        for done, since in ended:
            yield self._clock.timed(done, since)

    def log_probs(self, wanted: Sequence[Continuations]) -> Iterator[LogProbs]:
        """Yield how likely texts are after conversations, those with much in common together.

        Raises:
            InputError: If two have one id.
            UnavailableError: If it is still answering, or was closed.
            BundleError: If the computation fails.
            KeyboardInterrupt: If the user interrupts.
        """
        if len({each.id for each in wanted}) < len(wanted):
            raise InputError("Two conversations have the same id; each needs one of its own.")
        with self._alone():
            yield from read_probabilities(self, self._slots, wanted, self._meter)

    def text_ids(self, text: str) -> list[int]:
        """Return the ids of a text that begins an answer; control tokens' texts stay texts."""
        return self._slots.tokenize(self._checked.prepare(text), special=False)


def _sorted(waiting: list[_Waiting]) -> list[_Waiting]:
    waiting.sort(key=lambda each: each.prompt)
    for each, needed in zip(waiting, plan_sharing([each.prompt for each in waiting]), strict=True):
        each.needed = needed
    return waiting


def _take(writing: _Writing, logits: Any) -> Answer | None:  # noqa: ANN401 - an array
    """Choose the next token; return the answer if it is done, or cannot be had."""
    try:
        finish: Finish | None = writing.answer.take(logits)
    except LoragraftError as error:
        writing.close()
        return Answer(writing.job.id, "error", None, str(error))
    if finish is None:
        return None
    writing.close()
    return Answer(writing.job.id, "ok", writing.answer.reply(finish))


def _own_context(model: LocalModel) -> int:
    with GgufFile(model.gguf) as file:
        return min(chat_facts(file).context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def open_llama(spec: LlamaSpec, context_needed: int | None = None) -> LlamaBatchEngine:
    """Open what a configuration names.

    Args:
        spec: The model, and how it is to be run.
        context_needed: Tokens of the longest prompt with its answer; what the context is made for
            where the configuration gives none. None takes the model's own, at most 8,192.

    Raises:
        LoragraftError: As :class:`LlamaBatchEngine` does.
    """
    model = open_model(Path(spec.model), spec.quant)
    whole = spec.context is None and context_needed is not None
    context = spec.context or context_needed or _own_context(model)
    context = cells(context) if whole else context
    return LlamaBatchEngine(
        model,
        context=context,
        width=spec.width or choose_width(model, context),
        threads=spec.threads,
        gpu_layers=spec.gpu_layers,
        whole=whole,
    )
