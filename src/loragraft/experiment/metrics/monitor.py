"""Watches outputs while they come: is this still a model that answers?

Rules are from the field's experience with broken adapters, templates and servers: a model that says
nothing, refuses, repeats itself or says the same to every question is broken, however its numbers
look.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from loragraft.adapter.findings import Finding, Severity
from loragraft.experiment.config import MonitorConfig, TaskKind
from loragraft.experiment.metrics.distribution import Distribution, distribution_of
from loragraft.experiment.metrics.patterns import loops, refuses
from loragraft.experiment.metrics.squad import plain_answer
from loragraft.experiment.records import Sample

LEAST_NUMBERS = 20
"""Numbers before a distribution says anything."""
FEW_VALUES = 2
"""So many distinct numbers among at least twenty are a constant, or a coin."""
LEAST_SPREAD = 0.05
"""Standard deviation of numbers from 0 to 1 below which they do not tell inputs apart."""
_SEEN = frozenset(("ok", "parse_error", "refused", "unscorable"))
"""Statuses of outputs; the others are an endpoint's faults, not a model's."""
_NUMERIC: tuple[TaskKind, ...] = ("score", "embedding")


@dataclass(frozen=True)
class Degenerate(Finding):
    """A finding about outputs.

    Attributes:
        causes: Likely ones, the likeliest first.
        count: Outputs that show it.
        seen: Outputs looked at.
    """

    causes: tuple[str, ...] = ()
    count: int = 0
    seen: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **self.as_dict(), "causes": list(self.causes), "count": self.count, "seen": self.seen,
        }  # fmt: skip

    def as_dict(self) -> dict[str, str]:
        """Return what every finding has, as plain strings."""
        return {
            "code": self.code, "severity": self.severity.value, "measured": self.measured,
            "expected": self.expected, "next_step": self.next_step,
        }  # fmt: skip


@dataclass(frozen=True)
class _Fault:
    """What is wrong with outputs, in words."""

    measured: str
    expected: str
    causes: tuple[str, ...]
    next_step: str


_TEMPLATE = "the chat template is not the one that the model was trained with"
_BROKEN = "the adapter or the conversion broke the model"
_FAULTS: Mapping[str, _Fault] = {
    "output.empty": _Fault(
        "empty answers", "text",
        ("the model ends its turn at once: " + _TEMPLATE, "a stop text begins every answer",
         "max_tokens is used up by thinking that is stripped"),
        "Look at one prompt with `loragraft experiment run --dry-run`, and chat with the model "
        "(`loragraft chat`).",
    ),
    "output.refusal": _Fault(
        "refusals", "answers",
        ("the system message or the questions trigger the model's or the provider's filter",
         "the prompt's instructions are lost, so that the model does not know its task"),
        "Read some answers, and change the system message or the model.",
    ),
    "output.loop": _Fault(
        "answers that say the same again and again", "text that goes on",
        (_BROKEN, _TEMPLATE, "greedy decoding of a small model: sampling.repeat_penalty 1.1 helps"),
        "Compare with the base model; check the bundle with `loragraft export verify`.",
    ),
    "output.endless": _Fault(
        "answers that never end by themselves", "answers that stop",
        ("the end token of the model's turns is not among its stops", _TEMPLATE,
         "sampling.max_tokens is too small for what is asked"),
        "Look at the ends of some answers; raise sampling.max_tokens, or name the turn's end in "
        "sampling.stop.",
    ),
    "output.unparsed": _Fault(
        "answers without a number", "a number from 0 to 1",
        ("the prompt does not say that only a number is wanted", "max_tokens ends the answer "
         "before its number", _TEMPLATE),
        "Read some answers; try scoring with the method `probability`.",
    ),
    "output.constant": _Fault(
        "the same answer", "answers that differ with the questions",
        ("the question is missing from the prompt: it was cut, or the template drops it",
         _BROKEN, "the training data had one answer for most questions"),
        "Look at two prompts (--dry-run), and at the base model's answers to them.",
    ),
    "numbers.nonfinite": _Fault(
        "numbers that are not finite", "finite numbers",
        ("weights hold NaN or Inf", "float16 overflows: take bfloat16 or float32"),
        "Check the adapter with `loragraft adapter verify`.",
    ),
    "numbers.distinct": _Fault(
        "distinct numbers", f"more than {FEW_VALUES} among {LEAST_NUMBERS} and more",
        ("the model knows only a yes and a no here", "the question is missing from the prompt",
         "the head of the classifier was not loaded"),
        "Look at two prompts (--dry-run); try scoring with the method `probability`.",
    ),
    "numbers.spread": _Fault(
        "standard deviation", f"at least {LEAST_SPREAD} on a scale from 0 to 1",
        ("the model does not tell the inputs apart: it was not trained for this, or the adapter is "
         "not in effect", "the prompt was cut before what differs"),
        "Compare with the base model; check the adapter with `loragraft adapter verify`.",
    ),
}  # fmt: skip


@dataclass
class _Numbers:
    """Numbers as they come; their spread is known after each (Welford 1962)."""

    all: list[float] = field(default_factory=list)
    distinct: set[float] = field(default_factory=set)
    _mean: float = 0.0
    _squares: float = 0.0
    _finite: int = 0

    def see(self, number: float) -> None:
        """Add a number; one that is not finite has no part in the spread."""
        self.all.append(number)
        self.distinct.add(number)
        if math.isfinite(number):
            self._finite += 1
            away = number - self._mean
            self._mean += away / self._finite
            self._squares += away * (number - self._mean)

    @property
    def spread(self) -> float:
        """The standard deviation of the finite ones."""
        return math.sqrt(self._squares / self._finite) if self._finite else 0.0


@dataclass
class Monitor:
    """Counts what is wrong with outputs.

    Attributes:
        config: When a share of faults is too much.
        task: The kind of records.
    """

    config: MonitorConfig
    task: TaskKind
    _seen: int = 0
    _faults: Counter[str] = field(default_factory=Counter)
    _answers: Counter[bytes] = field(default_factory=Counter)
    _asked: set[str] = field(default_factory=set)
    _most: int = 0
    _numbers: _Numbers = field(default_factory=_Numbers)

    def see(self, sample: Sample) -> None:
        """Look at an output; what an endpoint failed to give says nothing of the model."""
        if sample.status not in _SEEN:
            return
        self._seen += 1
        self._asked.add(sample.question_id)
        for code in faults_of(sample, self.task):
            self._faults[code] += 1
        if self.task in _NUMERIC:
            if sample.parsed is not None:
                self._numbers.see(sample.parsed)
        else:
            text = " ".join(plain_answer(sample).casefold().split())
            key = sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
            self._answers[key] += 1
            self._most = max(self._most, self._answers[key])

    def distribution(self) -> Distribution:
        """Return what the numbers look like so far."""
        ends = {"low": 0.0, "high": 1.0} if self.task == "score" else {}
        return distribution_of(self._numbers.all, **ends)

    def finding(self) -> Degenerate | None:
        """Return what is wrong with the outputs so far; None while nothing is, or too few came."""
        if self._seen < self.config.after:
            return None
        for look in (self._single, self._constant, self._numeric):
            found = look()
            if found is not None:
                return found
        return None

    def _single(self) -> Degenerate | None:
        """Look for faults that one answer can have."""
        for code, count in self._faults.most_common():
            if code == "numbers.nonfinite" or count > self.config.share * self._seen:
                return _degenerate(code, f"{count} of {self._seen}", count, self._seen)
        return None

    def _constant(self) -> Degenerate | None:
        """Look for one answer to all questions."""
        count = self._most
        few = len(self._asked) < LEAST_NUMBERS
        if few or count <= max(self.config.share * self._seen, 1):
            return None
        return _degenerate("output.constant", f"{count} of {self._seen}", count, self._seen)

    def _numeric(self) -> Degenerate | None:
        """Look for numbers that do not differ."""
        count = len(self._numbers.all)
        if count < LEAST_NUMBERS:
            return None
        distinct = len(self._numbers.distinct)
        if distinct <= FEW_VALUES:
            return _degenerate("numbers.distinct", f"{distinct} among {count}", count, self._seen)
        spread = self._numbers.spread
        if self.task == "score" and spread < LEAST_SPREAD:
            return _degenerate("numbers.spread", f"{spread:.3f}", count, self._seen)
        return None


def faults_of(sample: Sample, task: TaskKind) -> list[str]:
    """Return the codes of what is wrong with one output by itself."""
    number = sample.parsed
    if task in _NUMERIC and number is not None:
        return [] if math.isfinite(number) else ["numbers.nonfinite"]
    if sample.status == "refused":
        return ["output.refusal"]
    looks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("output.empty", lambda: not sample.answer.strip()),
        ("output.refusal", lambda: refuses(sample.answer)),
        ("output.loop", lambda: loops(sample.answer)),
        ("output.endless", lambda: sample.finish in ("length", "context")),
    )
    found = [code for code, look in looks if look()][:1]
    unparsed = task == "score" and sample.status == "parse_error"
    return [*found, *(["output.unparsed"] if unparsed else [])]


def _degenerate(code: str, amount: str, count: int, seen: int) -> Degenerate:
    fault = _FAULTS[code]
    return Degenerate(
        code, Severity.FAIL, f"{fault.measured}: {amount}", fault.expected, fault.next_step,
        fault.causes, count, seen,
    )  # fmt: skip
