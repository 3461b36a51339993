"""A number from 0 to 1, asked of a language model: as text, or by its own probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from loragraft.dataset.records import Score, TaskRecord, to_json
from loragraft.engine.batch.plain import PLAIN
from loragraft.engine.batch.protocol import (
    BatchEngine,
    Continuations,
    LogProbs,
    ProbabilityEngine,
)
from loragraft.engine.protocol import Message, Reply
from loragraft.errors import InputError
from loragraft.experiment.arms.asking import AskingArm
from loragraft.experiment.arms.protocol import Asked, Question
from loragraft.experiment.arms.reference import shows_probabilities
from loragraft.experiment.arms.score_parser import Parsed, parse_float, parse_staged
from loragraft.experiment.arms.template import Fields, PromptTemplate
from loragraft.experiment.config import SamplingConfig, ScorePrompt, TaskKind
from loragraft.experiment.records import Sample
from loragraft.rag.answering.counting import estimate
from loragraft.rag.answering.neutralise import neutralise

PARSER_VERSION = 1
"""Counts up when the same answer may be read as another number."""
_PARSERS: Mapping[str, Callable[[str], Parsed | None]] = {
    "float": parse_float,
    "staged": parse_staged,
}
_SHOWN = 80


class ScoreArm(AskingArm):
    """Records of the kind ``score``."""

    task: TaskKind = "score"

    def __init__(
        self,
        name: str,
        sampling: SamplingConfig,
        prompt: ScorePrompt,
        examples: Sequence[Score] = (),
    ) -> None:
        """Say how the number is asked for.

        Args:
            name: The experiment's id.
            sampling: The series'; the prompt's own values take its place.
            prompt: How the number is asked for.
            examples: Records shown first with their number.

        Raises:
            InputError: If the template is none, or one choice begins with another.
        """
        own = {"temperature": prompt.temperature, "max_tokens": prompt.max_tokens}
        changes = {key: value for key, value in own.items() if value is not None}
        if prompt.method == "probability":
            changes.update(repeats=1)
        super().__init__(name, sampling.model_copy(update=changes))
        self._prompt, self._template = prompt, PromptTemplate(prompt.template)
        self._examples = tuple(examples)
        _check_choices(prompt.choices)

    def identity(self) -> dict[str, Any]:
        """Return what decides a sample."""
        return {
            "task": self.task,
            "prompt": self._prompt.model_dump(mode="json"),
            "examples": [to_json(record) for record in self._examples],
            "parser": PARSER_VERSION,
        }

    def compose(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record."""
        assert isinstance(record, Score)
        missing = self._template.missing(record.fields)
        if missing:
            return Question(
                record,
                fault=f"{record.id} has no field {missing[0]!r}, which the template asks for; it "
                f"has {', '.join(record.fields)}. Change the template or the record.",
            )
        if self._prompt.method == "probability" and engine and not shows_probabilities(engine):
            raise InputError(
                f"{self.name} scores by probabilities, and {engine.name} shows none. Set "
                "scoring.method to text, or choose the engine llama or transformers."
            )
        messages = self._messages(record, engine)
        tokens = self.count(messages, engine)
        return Question(
            record,
            messages,
            tokens=tokens,
            max_tokens=self._max_tokens(),
            fault=self.fault_of(tokens, engine),
        )

    def read(self, asked: Asked, reply: Reply) -> Sample:
        """Make a sample of an answer, with the number that it gives."""
        sample = super().read(asked, reply)
        parsed = _PARSERS[self._prompt.parser](sample.answer)
        if parsed is None:
            shown = sample.answer[:_SHOWN]
            error = f"No number from 0 to 1 is in the answer {shown!r}."
            return replace(sample, status="parse_error", error=error)
        extra = {**sample.extra, "stage": parsed.stage}
        return replace(sample, parsed=parsed.value, extra=extra)

    def answered(self, asked: Sequence[Asked], engine: BatchEngine) -> Iterator[Sample]:
        """Yield the samples of questions that can be asked."""
        if self._prompt.method == "text":
            yield from super().answered(asked, engine)
            return
        texts = tuple(self._prompt.choices)
        wanted = [
            Continuations(str(number), one.question.messages, texts, self.sampling.think)
            for number, one in enumerate(asked)
        ]
        for found in cast("ProbabilityEngine", engine).log_probs(wanted):
            yield self._weighed(asked[int(found.id)], found)

    def _weighed(self, asked: Asked, found: LogProbs) -> Sample:
        tokens = asked.question.tokens
        if found.status != "ok":
            return self.sample(asked, status=found.status, error=found.error)
        weighed = weigh(found.sums, tuple(self._prompt.choices.values()))
        if weighed is None:
            error = "None of the choices is among the tokens that the engine shows."
            return self.sample(asked, status="parse_error", error=error, prompt_tokens=tokens)
        score, shares, mass = weighed
        likeliest = max(zip(shares, self._prompt.choices, strict=True))[1]
        extra = {"choices": dict(zip(self._prompt.choices, shares, strict=True)), "mass": mass}
        return self.sample(
            asked, raw=likeliest, answer=likeliest.strip(), parsed=score, extra=extra,
            prompt_tokens=tokens,
        )  # fmt: skip

    def _max_tokens(self) -> int:
        if self._prompt.method == "text":
            return self.sampling.max_tokens
        return max(map(estimate, self._prompt.choices))

    def _messages(self, record: Score, engine: BatchEngine | None) -> tuple[Message, ...]:
        """Return the prompt: turns of a conversation, or one plain text."""
        asked = self._filled(record, engine)
        others = [one for one in self._examples if one.id != record.id]
        shown = [(self._filled(one, engine), f"{one.label:g}") for one in others]
        if not self._prompt.chat:
            parts = [f"{text.rstrip()} {number}" for text, number in shown]
            system = [] if self._prompt.system is None else [self._prompt.system]
            return ({"role": PLAIN, "content": "\n\n".join([*system, *parts, asked])},)
        system_text = self.sampling.system if self._prompt.system is None else self._prompt.system
        turns: list[Message] = []
        if system_text is not None:
            turns.append({"role": "system", "content": system_text})
        for text, number in shown:
            turns.append({"role": "user", "content": text})
            turns.append({"role": "assistant", "content": number})
        return (*turns, {"role": "user", "content": asked})

    def _filled(self, record: Score, engine: BatchEngine | None) -> str:
        """Fill the template; control tokens in a record's texts are broken."""
        literals = getattr(engine, "literals", None)
        fields: Fields = {
            name: neutralise(part, literals)
            if isinstance(part, str)
            else tuple(neutralise(text, literals) for text in part)
            for name, part in record.fields.items()
        }
        return self._template.fill(fields)


def weigh(
    sums: Sequence[float], values: Sequence[float]
) -> tuple[float, tuple[float, ...], float] | None:
    """Return the expected value of choices, each one's share, and their probability together.

    Args:
        sums: Natural log-probabilities of the choices, minus infinity where unknown.
        values: What each choice is worth.

    Returns:
        None where no choice has a probability.
    """
    known = [value for value in sums if math.isfinite(value)]
    if not known or any(math.isnan(value) or value == math.inf for value in sums):
        return None
    highest = max(known)
    weights = [math.exp(value - highest) if math.isfinite(value) else 0.0 for value in sums]
    total = math.fsum(weights)
    shares = tuple(weight / total for weight in weights)
    score = math.fsum(share * value for share, value in zip(shares, values, strict=True))
    return min(1.0, max(0.0, score)), shares, math.exp(highest) * total


def _check_choices(choices: Mapping[str, float]) -> None:
    """Refuse choices of which one begins with another: their probabilities overlap.

    Raises:
        InputError: Naming both.
    """
    for one in choices:
        for other in choices:
            if one != other and other.startswith(one):
                raise InputError(
                    f"scoring.choices: {other!r} begins with {one!r}, so whatever writes the "
                    "first also writes the second. Choose texts that part at once, as Yes and No."
                )
