"""transformers and PEFT for many conversations: batches of a fixed shape, refilled as they empty.

How rows are kept apart: :mod:`.transformers_slots`. Models whose rows cannot be kept apart answer
one conversation after the other (:mod:`.transformers_company`), at the same width 1 everywhere.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loragraft.artifact.space import require_memory
from loragraft.engine.batch.clock import WritingClock
from loragraft.engine.batch.peak import peak_memory
from loragraft.engine.batch.protocol import (
    Answer,
    Continuations,
    Job,
    Load,
    LogProbs,
    Meter,
)
from loragraft.engine.batch.transformers_prompts import ConversationTokens
from loragraft.engine.batch.transformers_rows import Asked, Row, repeats_together
from loragraft.engine.conversation import Literals
from loragraft.engine.protocol import Message
from loragraft.engine.transformers import Reader, TransformersEngine
from loragraft.errors import InputError, LoragraftError, OutOfMemoryError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from loragraft.engine.batch.transformers_slots import ReadPrompt, Slots

NOT_FINITE = (
    "The model's distribution holds NaN or infinite values, so there are no probabilities. Its "
    "weights are broken, or too large for this type of numbers: check the file's checksum."
)


class TransformersBatchEngine:
    """A loaded model; a batch, a counting and a probability engine.

    Attributes:
        notes: What a user should know of it.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a transformers or PEFT model
        tokenizer: Any,  # noqa: ANN401 - a transformers tokenizer
        *,
        template: str | None,
        name: str,
        width: int = 8,
        context: int | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a model and the tokenizer that belongs to it.

        Args:
            model: A causal language model of transformers, or a ``PeftModel`` around one.
            tokenizer: Its tokenizer.
            template: The chat template in force.
            name: What a person calls the model.
            width: Conversations in one batch.
            context: Tokens of a conversation with its answer; None for the model's own.
            identity: What decides its answers and cannot be seen from here: hashes of its files.

        Raises:
            InputError: If width or context is none.
        """
        _check_counts(width=width, context=1 if context is None else context)
        self._solo = TransformersEngine(model, tokenizer, template=template, name=name)
        self._tokens = ConversationTokens(self._solo)
        self._asked_width, self._known = width, dict(identity or {})
        if context is not None:
            self._solo.context = context
        self._meter, self._clock = Meter(), WritingClock()
        self.notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a person calls the model."""
        return self._solo.name

    @property
    def context(self) -> int:
        """Tokens that one conversation and its answer may have together."""
        return self._solo.context

    @property
    def load(self) -> Load:
        """What answering has cost so far."""
        return self._meter.load

    @cached_property
    def width(self) -> int:
        """Conversations in one batch; 1 where the model's rows do not keep to themselves."""
        from loragraft.engine.batch.transformers_company import why_alone

        if self._asked_width == 1:
            return 1
        with _memory_explained(self._asked_width):
            reason = why_alone(self._solo, self._asked_width)
        if reason is None:
            return self._asked_width
        self.notes = (
            *self.notes,
            f"{self.name} answers one conversation after the other, not {self._asked_width} at a "
            f"time: {reason}.",
        )
        return 1

    @property
    def literals(self) -> Literals:
        """What finds control tokens' texts in messages: there they stay texts."""
        return self._tokens.literals

    def identity(self) -> dict[str, Any]:
        """Return what decides an answer: files, types, width and versions."""
        import torch
        import transformers

        parameter = next(self._solo.model.parameters())
        template = (self._solo.template or "").encode()
        return {
            "engine": "transformers",
            **self._known,
            "width": self.width,
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "device": _device(parameter.device),
            "torch": str(torch.__version__),
            "transformers": str(transformers.__version__),
            "template": hashlib.sha256(template).hexdigest(),
            "context": self.context,
            "ends": sorted(self._solo.ends),
        }

    def render(self, messages: Sequence[Message], *, think: bool | None = None) -> str:
        """Return the conversation as the model reads it, ending where the answer begins.

        Raises:
            TemplateError: If there is no template, or it refuses these messages.
        """
        return self._solo.render(messages, think=think)

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of a conversation, ready for its answer.

        Raises:
            TemplateError: As :meth:`render`.
            InputError: If a plain prompt stands among turns.
        """
        return self._tokens.prompt(messages, think=think)

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield each job's answer as it is ready; see the protocol.

        Raises:
            InputError: If two jobs have one id.
            OutOfMemoryError: If a batch does not fit into memory.
            KeyboardInterrupt: If the user interrupts.
        """
        _check_ids([job.id for job in jobs])
        waiting: dict[int, list[Asked]] = {}
        for job in jobs:
            asked = self._ask(job)
            if isinstance(asked, Answer):
                yield asked
            else:
                waiting.setdefault(asked.capacity, []).append(asked)
        if not waiting:
            return
        answer = self._alone if self.width == 1 else self._together
        for capacity in sorted(waiting):
            with _memory_explained(self.width):
                yield from answer(capacity, repeats_together(waiting[capacity]))

    def _ask(self, job: Job) -> Asked | Answer:
        """Return a job with its prompt, or the answer that there can be none."""
        try:
            return self._tokens.ask(job)
        except LoragraftError as error:
            return Answer(job.id, "error", None, str(error))

    def _together(self, capacity: int, asked: Iterable[Asked]) -> Iterator[Answer]:
        from loragraft.engine.batch.transformers_slots import Slots

        queue, slots = deque(asked), None
        rows: list[Row | None] = [None] * self.width
        read = _LastRead(self._solo, self._meter)
        while queue or any(rows):
            for place in range(self.width):
                while rows[place] is None and queue:
                    began, prompt = time.perf_counter(), read(queue[0].ids)
                    found = self._begin(queue.popleft(), prompt.logits, began)
                    if isinstance(found, Answer):
                        yield found
                        continue
                    if slots is None:
                        self._require_memory(prompt, capacity)
                        slots = Slots(self._solo, prompt, width=self.width, capacity=capacity)
                    rows[place] = found
                    slots.put(place, prompt)
            if slots is None or not any(rows):
                continue
            yield from self._step(rows, slots)

    def _step(self, rows: list[Row | None], slots: Slots) -> Iterator[Answer]:
        """Write one more token of every answer; those that end with it leave their places."""
        before, ended = self._clock.seconds, []
        with self._clock.going():
            logits = slots.step([row.last if row else 0 for row in rows])
            for place, row in enumerate(rows):
                answer = self._go_on(row, logits[place]) if row else None
                if row is not None and answer is not None:
                    rows[place] = None
                    slots.free(place)
                    ended.append((answer, row.since))
        self._meter.add(seconds=self._clock.seconds - before)
        for answer, since in ended:
            yield self._clock.timed(answer, since)

    def _begin(self, asked: Asked, logits: NDArray[np.float32], began: float) -> Row | Answer:
        """Choose the first token; return the row, or the answer if that was all."""
        row = Row(self._solo, asked, began, self._clock.seconds)
        return self._go_on(row, logits) or row

    def _go_on(self, row: Row, logits: NDArray[np.float32]) -> Answer | None:
        """Choose a row's next token; return the answer if it is whole."""
        job = row.asked.job
        try:
            finish = row.take(logits)
        except LoragraftError as error:  # no finite distribution
            return Answer(job.id, "error", None, str(error))
        self._meter.add(tokens=1)
        if finish is None:
            return None
        self._meter.add(peak=peak_memory())
        return Answer(job.id, "ok", row.reply(finish))

    def _alone(self, capacity: int, asked: Iterable[Asked]) -> Iterator[Answer]:
        """Answer one after the other, as the model does by itself."""
        for one in asked:
            began, reader = time.perf_counter(), Reader(self._solo)
            found = self._begin(one, reader.read(one.ids), began)
            while isinstance(found, Row):
                found = self._go_on(found, reader.read([found.last])) or found
            self._meter.add(prompt=len(one.ids), seconds=time.perf_counter() - began)
            yield found

    def log_probs(self, wanted: Sequence[Continuations]) -> Iterator[LogProbs]:
        """Yield the log-probabilities of continuations, each of a conversation read alone.

        A text's tokens are those of the text alone, put behind the conversation's.

        Raises:
            InputError: If two have one id.
            OutOfMemoryError: If one does not fit into memory.
        """
        _check_ids([one.id for one in wanted])
        for one in wanted:
            began = time.perf_counter()
            with _memory_explained(1):
                found = self._continue(one)
            self._meter.add(seconds=time.perf_counter() - began, peak=peak_memory())
            yield found

    def _continue(self, wanted: Continuations) -> LogProbs:
        texts = [self._tokens.text(text) for text in wanted.texts]
        try:
            if not all(texts):
                raise InputError("A text whose probability is wanted has no tokens. Give some.")
            longest = max(map(len, texts), default=0)
            ids = self._tokens.fitting(wanted.messages, wanted.think, longest)
        except LoragraftError as error:
            return LogProbs(wanted.id, "error", error=str(error))
        rows: dict[tuple[int, ...], NDArray[np.float32]] = {}
        sums = []
        for text in texts:
            given = (*ids, *text[:-1])
            if given not in rows:
                rows[given] = self._solo.log_probs(given, len(text))
                self._meter.add(prompt=len(given))
            sums.append(
                sum(float(row[token]) for row, token in zip(rows[given], text, strict=True))
            )
        if not all(map(math.isfinite, sums)):
            return LogProbs(wanted.id, "error", error=NOT_FINITE)
        return LogProbs(wanted.id, "ok", tuple(sums), tuple(map(len, texts)))

    def _require_memory(self, prompt: ReadPrompt, capacity: int) -> None:
        from loragraft.engine.batch.transformers_slots import slot_bytes

        if prompt.keys[0].device.type == "cpu":
            require_memory(
                slot_bytes(prompt) * self.width * capacity,
                f"{self.width} conversations of {capacity} tokens",
                "Take fewer at a time (engine.width), or fewer and shorter passages.",
            )

    def close(self) -> None:
        """Let go of the model, so that its memory can be freed; twice does no harm."""
        self._solo.close()


class _LastRead:
    """Reads prompts, and keeps the last: repeated samples of a question need it once."""

    def __init__(self, engine: TransformersEngine, meter: Meter) -> None:
        self._engine, self._meter = engine, meter
        self._ids: tuple[int, ...] = ()
        self._prompt: ReadPrompt | None = None

    def __call__(self, ids: tuple[int, ...]) -> ReadPrompt:
        from loragraft.engine.batch.transformers_slots import read_prompt

        if self._prompt is not None and ids == self._ids:
            self._meter.add(shared=len(ids))
            return self._prompt
        began = time.perf_counter()
        self._prompt = None  # its memory can go before the next is read
        self._ids, self._prompt = ids, read_prompt(self._engine, ids)
        self._meter.add(prompt=len(ids), seconds=time.perf_counter() - began)
        return self._prompt


def _check_ids(ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        raise InputError("Two jobs have the same id; each needs one of its own.")


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} is {count}; it must be 1 or more.")


def _device(device: torch.device) -> str:
    """Return what computes, where other hardware gives other last digits."""
    import torch

    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":  # how many threads share a sum decides its last digits
        return f"cpu {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return device.type


@contextmanager
def _memory_explained(width: int) -> Iterator[None]:
    """Say what to do where memory runs out."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            f"Memory ran out with {width} conversations at a time ({error}). Take fewer "
            "(engine.width), shorter prompts, or a smaller type of numbers (engine.dtype)."
        ) from None
