"""What a probe's answers say: one function a failure mode, on measured samples alone.

A new check is one function and one line in :data:`PROBE_CHECKS`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loragraft.adapter.findings import Finding, failed, passed, quote, warned
from loragraft.adapter.probe_prompts import ProbePrompt, Task
from loragraft.adapter.scores import ParsedScore

MIN_STD = 0.05
"""A useful score from 0 to 1 moves by more than this over prompts chosen to differ; a collapsed
model shows 0 or noise around one value."""
MIN_HIGHEST = 0.3
"""The packaged prompts hold plain cases of yes: a model that never exceeds this says no to all."""
MAX_LOWEST = 0.7
"""The same for plain cases of no."""
MIN_DISTINCT = 3
"""One or two values are a constant or a yes/no switch, not a score."""
USUAL_MEAN = (0.2, 0.8)
"""The packaged prompts are balanced; outside of this a model leans to one side. A user's prompts
need not be balanced, so that this only warns."""
MIN_SCORES = 3
"""Below as many scores a distribution says nothing."""
SAME_SIDE = 0.5
"""A score counts as expected if it lies within this of the label: on the same side of the scale."""

LOOP_REPEATS = 4
"""So many equal stretches in a row at the end; lists and rhymes repeat less."""
LOOP_SHARE = 0.5
"""… which make up this share of the answer, so that a long answer with a refrain is no loop."""
LOOP_TOKENS = 12
"""Shorter answers are not judged: "no, no, no, no" may be one."""


@dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: Without special tokens.
        tokens: Ids of the new tokens.
        ended: Whether it ended by itself before the limit.
        score: The score in it, for score tasks.
    """

    text: str
    tokens: tuple[int, ...] = ()
    ended: bool = True
    score: ParsedScore | None = None


@dataclass(frozen=True)
class Sample:
    """One prompt through base and adapted model.

    Attributes:
        prompt: The prompt.
        base: The base's answer.
        tuned: The adapted model's answer.
        effect: Largest difference of a logit between adapted model and base.
        noise: The same between two passes of the adapted model, switched off in between.
        finite: Whether every logit of the adapted model is finite.
    """

    prompt: ProbePrompt
    base: Answer
    tuned: Answer
    effect: float
    noise: float
    finite: bool = True


@dataclass(frozen=True)
class ProbeContext:
    """What the checks look at.

    Attributes:
        task: Whether answers are texts or scores.
        samples: One a prompt.
        missing: Parameters of the adapter that the file did not fill.
        unexpected: Keys of the file that landed nowhere.
    """

    task: Task
    samples: Sequence[Sample]
    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    scores: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the scores that could be read."""
        found = [s.tuned.score.value for s in self.samples if s.tuned.score is not None]
        object.__setattr__(self, "scores", tuple(value for value in found if value is not None))


ProbeCheck = Callable[[ProbeContext], Finding | None]


def check_keys(context: ProbeContext) -> Finding | None:
    """Every key of the file landed in the model, and every parameter was filled."""
    missing, unexpected = list(context.missing), list(context.unexpected)
    if not missing and not unexpected:
        return passed("probe.keys", "every key landed", "every key to land")
    parts = [f"{len(missing)} parameters not filled ({quote(missing, 1)})"] if missing else []
    if unexpected:
        parts.append(f"{len(unexpected)} keys ignored ({quote(unexpected, 1)})")
    return failed(
        "probe.keys", "; ".join(parts), "every key of the file to land in the model",
        "PEFT says next to nothing about it. Run loragraft adapter diagnose on both.",
    )  # fmt: skip


def check_finite(context: ProbeContext) -> Finding | None:
    """No logit is NaN or Inf."""
    bad = [sample.prompt.id for sample in context.samples if not sample.finite]
    if not bad:
        return passed("probe.finite", "all logits finite", "all logits finite")
    return failed(
        "probe.finite", f"NaN or Inf among the logits of {quote(bad)}", "all logits finite",
        "The adapter holds values that are not finite, or its scaling overflows. Take an earlier "
        "checkpoint of its training.",
    )  # fmt: skip


def check_effect(context: ProbeContext) -> Finding | None:
    """The adapted model differs from the base by more than from itself."""
    finite = [sample for sample in context.samples if sample.finite]
    if not finite:
        return None
    effect = max(sample.effect for sample in finite)
    noise = max(sample.noise for sample in finite)
    measured = f"logits differ by up to {effect:.3g} from the base, by {noise:.3g} from themselves"
    expected = "a difference from the base above that between two passes of the adapted model"
    if effect > noise:
        return passed("probe.effect", measured, expected)
    return failed(
        "probe.effect", measured, expected,
        "The adapter changes nothing. Run loragraft adapter diagnose: it is untrained, or its "
        "weights do not land.",
    )  # fmt: skip


def check_outputs(context: ProbeContext) -> Finding | None:
    """At least one greedy answer is another than the base's."""
    changed = sum(s.base.text != s.tuned.text for s in context.samples)
    measured = f"{changed} of {len(context.samples)} answers differ from the base's"
    if changed:
        return passed("probe.outputs", measured, "at least one")
    return warned(
        "probe.outputs", measured, "at least one",
        "The effect is too small to change a greedy answer here. Give prompts of the adapter's "
        "own task with --prompts.",
    )  # fmt: skip


def check_empty(context: ProbeContext) -> Finding | None:
    """Every answer holds something."""
    return _degenerate(
        context, "probe.empty", "empty", lambda answer: not answer.text.strip(),
        "The adapter has learnt to end at once: look at the labels of its training (was the "
        "answer masked?).",
    )  # fmt: skip


def check_loops(context: ProbeContext) -> Finding | None:
    """No answer ends in a repetition loop."""
    return _degenerate(
        context, "probe.loop", "caught in a repetition loop", is_loop,
        "The adapter was trained too hard, at another scaling, or without end tokens. Take an "
        "earlier checkpoint.",
    )  # fmt: skip


def _degenerate(
    context: ProbeContext, code: str, what: str, test: Callable[[Answer], bool], step: str
) -> Finding:
    """Judge answers by a test; what the base does as well is a warning, not the adapter's fault."""
    total = len(context.samples)
    bad = [s for s in context.samples if test(s.tuned)]
    if not bad:
        return passed(code, f"none of {total} answers is {what}", "none")
    too = sum(test(sample.base) for sample in bad)
    measured = f"{len(bad)} of {total} answers {what}: {quote([s.prompt.id for s in bad])}"
    if too == len(bad):
        return warned(
            code, f"{measured}; so are the base's own", "none",
            "The base does the same here: give it the prompts and the template it knows.",
        )  # fmt: skip
    return failed(code, measured, "none", step)


def is_loop(answer: Answer) -> bool:
    """Say whether an answer's end repeats one stretch of tokens over and over."""
    tokens = answer.tokens
    count = len(tokens)
    if answer.ended or count < LOOP_TOKENS:
        return False
    for period in range(1, count // LOOP_REPEATS + 1):
        run = period
        while run < count and tokens[-run - 1] == tokens[-run - 1 + period]:
            run += 1
        if run >= LOOP_REPEATS * period and run >= LOOP_SHARE * count:
            return True
    return False


def check_alike(context: ProbeContext) -> Finding | None:
    """Different prompts get different answers."""
    total = len(context.samples)
    if context.task != "generation" or total < MIN_SCORES:
        return None
    text, most = Counter(s.tuned.text.strip() for s in context.samples).most_common(1)[0]
    if most < total:
        return passed("probe.alike", f"at most {most} of {total} answers are equal", "not all")
    step = "The adapter has collapsed to one answer. Look at its training data and loss."
    measured = f"the same answer to all {total} prompts: {text[:60]!r}"
    if len({s.base.text.strip() for s in context.samples}) == 1:
        return warned("probe.alike", f"{measured}; the base does so too", "not all", step)
    return failed("probe.alike", measured, "different answers to different prompts", step)


def check_expected(context: ProbeContext) -> Finding | None:
    """Where an answer is known, the adapted model still gives it."""
    known = [s for s in context.samples if s.prompt.expected is not None]
    if not known:
        return None
    tuned = sum(as_expected(s.prompt, s.tuned) for s in known)
    base = sum(as_expected(s.prompt, s.base) for s in known)
    measured = f"{tuned} of {len(known)} known answers given, {base} by the base"
    expected = "as many as the base"
    if tuned >= base and tuned:
        return passed("probe.expected", measured, expected)
    return warned(
        "probe.expected", measured, expected,
        "So few prompts prove nothing; evaluate it on a test set before you use it.",
    )  # fmt: skip


def as_expected(prompt: ProbePrompt, answer: Answer) -> bool:
    """Say whether an answer is the expected one: holds it, or is a score on its side."""
    wanted = prompt.expected or ""
    if answer.score is None:
        return wanted.casefold() in answer.text.casefold()
    try:
        label = float(wanted)
    except ValueError:
        return False
    return answer.score.value is not None and abs(answer.score.value - label) < SAME_SIDE


def check_parsed(context: ProbeContext) -> Finding | None:
    """The answers hold scores; says nothing about which."""
    if context.task != "score":
        return None
    total, parsed = len(context.samples), len(context.scores)
    reasons = [s.tuned.score.reason for s in context.samples
               if s.tuned.score is not None and s.tuned.score.value is None]  # fmt: skip
    measured = f"{parsed} of {total} answers hold a score"
    if parsed == total:
        return passed("probe.parse", measured, "all; how they spread is judged apart")
    measured += f" ({quote(sorted(set(reasons)))})"
    step = "Use the prompt and the template that the adapter was trained with (--prompts)."
    if parsed * 2 > total:
        return warned("probe.parse", measured, "all", step)
    return failed("probe.parse", measured, "all, at least more than half", step)


_COLLAPSE = (
    "The adapter has collapsed. Ask whether it belongs to this base, and look at its labels."
)


def check_std(context: ProbeContext) -> Finding | None:
    """The scores spread."""
    if not _enough(context):
        return None
    std = statistics.pstdev(context.scores)
    return _judge("probe.std", std > MIN_STD, f"standard deviation {std:.3f} of {_n(context)}",
                  f"above {MIN_STD}")  # fmt: skip


def check_highest(context: ProbeContext) -> Finding | None:
    """Some score is high."""
    if not _enough(context):
        return None
    highest = max(context.scores)
    return _judge("probe.highest", highest > MIN_HIGHEST,
                  f"highest of {_n(context)} {highest:.3f}", f"above {MIN_HIGHEST}")  # fmt: skip


def check_lowest(context: ProbeContext) -> Finding | None:
    """Some score is low."""
    if not _enough(context):
        return None
    lowest = min(context.scores)
    return _judge("probe.lowest", lowest < MAX_LOWEST,
                  f"lowest of {_n(context)} {lowest:.3f}", f"below {MAX_LOWEST}")  # fmt: skip


def check_distinct(context: ProbeContext) -> Finding | None:
    """The scores take more than two values."""
    if not _enough(context):
        return None
    values = sorted(set(context.scores))
    shown = ", ".join(f"{value:g}" for value in values[:5])
    return _judge("probe.distinct", len(values) >= MIN_DISTINCT,
                  f"{len(values)} distinct values among {_n(context)} ({shown})",
                  f"at least {MIN_DISTINCT}")  # fmt: skip


def check_mean(context: ProbeContext) -> Finding | None:
    """The scores do not lean to one side."""
    if not _enough(context):
        return None
    mean, (low, high) = statistics.fmean(context.scores), USUAL_MEAN
    measured, expected = f"mean {mean:.3f} of {_n(context)}", f"between {low} and {high}"
    if low <= mean <= high:
        return passed("probe.mean", measured, expected)
    return warned(
        "probe.mean", measured, expected,
        "The adapter leans to one side, or the prompts do: the packaged ones are balanced.",
    )  # fmt: skip


def check_enough(context: ProbeContext) -> Finding | None:
    """There are enough scores to speak of a distribution."""
    if context.task != "score" or _enough(context):
        return None
    return warned(
        "probe.scores", f"{_n(context)}", f"at least {MIN_SCORES}, to judge how they spread",
        "Give more prompts, or prompts that the model answers with a score.",
    )  # fmt: skip


def _enough(context: ProbeContext) -> bool:
    return context.task == "score" and len(context.scores) >= MIN_SCORES


def _n(context: ProbeContext) -> str:
    return f"{len(context.scores)} score{'s' if len(context.scores) != 1 else ''}"


def _judge(code: str, good: bool, measured: str, expected: str) -> Finding:
    if good:
        return passed(code, measured, expected)
    return failed(code, measured, expected, _COLLAPSE)


PROBE_CHECKS: tuple[ProbeCheck, ...] = (
    check_keys,
    check_finite,
    check_effect,
    check_outputs,
    check_empty,
    check_loops,
    check_alike,
    check_expected,
    check_parsed,
    check_enough,
    check_std,
    check_highest,
    check_lowest,
    check_distinct,
    check_mean,
)
"""Every check, in the order a person should read them."""


def run_probe_checks(context: ProbeContext) -> list[Finding]:
    """Return the finding of every check that applies."""
    return [finding for check in PROBE_CHECKS if (finding := check(context)) is not None]
