"""What to change in the next run, as rules, each with the figures that triggered it.

Rules see losses and a few sample answers. They do not see whether the adapter does its work: that
is what an experiment on a test set is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loragraft.training.config import LoraSettings, TrainConfig
from loragraft.training.log import Evaluation, TrainingLog, mean_loss
from loragraft.training.style import find_drift

Kind = Literal["unstable", "overfitting", "underfitting", "style-drift", "no-validation", "none"]

TURNED = 0.02
"""Share by which the last validation loss must lie above the best to be called risen: less is the
noise of a small validation set."""
STILL_FALLING = 0.02
"""Share by which the validation loss must have fallen over the last quarter of a run, or since the
evaluation before, to be called still falling."""
HARDLY = 0.05
"""Share of the training loss: a run that took off less has hardly learnt anything."""
LATE = 0.75
"""Where the last quarter of a run begins."""
LOWEST_RANK, HIGHEST_RANK = 2, 128
"""Below, an adapter holds almost nothing; above, more rank has not helped in any study we know."""
MORE_DROPOUT, MOST_DROPOUT = 0.05, 0.3
"""Steps of dropout, and where they end: beyond, training starves."""


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes:
        kind: What the run suffers from.
        because: The figures that say so.
        change: What to change.
    """

    kind: Kind
    because: str
    change: str

    @property
    def words(self) -> str:
        """Return figures and change as sentences."""
        return f"{self.because} Change: {self.change}." if self.change else self.because


REVIEW = {
    "causal-lm": "whether the answers follow from the questions",
    "sequence-classification": "whether the labels follow from the fields",
    "embedding": "whether the labels say how alike the texts are",
}
"""What of each task's data is worth a look where nothing is learnt."""

Rule = Callable[[TrainingLog, TrainConfig], "Advice | None"]


def advise(log: TrainingLog, config: TrainConfig) -> tuple[Advice, ...]:
    """Judge a run.

    Returns:
        At least one; of the kind "none" where there is nothing to say.
    """
    found = [rule(log, config) for rule in RULES]
    given = tuple(advice for advice in found if advice is not None)
    if any(advice.kind in ("unstable", "overfitting") for advice in given):
        # More capacity on top of either would make it worse.
        given = tuple(advice for advice in given if advice.kind != "underfitting")
    return given or (_nothing(log),)


def unstable(log: TrainingLog, config: TrainConfig) -> Advice | None:
    """The loss rose or was no number, gradients exploded, or the base alone is better."""
    found = [a for a in log.alarms if a.kind in ("loss-rises", "gradient", "not-finite")]
    worse = _worse(log)
    if not found and not worse:
        return None
    rate = config.optimiser.learning_rate
    change = f"optimiser.learning_rate {rate:g} -> {rate / 2:g}, and a longer warm-up"
    reasons = [worse] if worse else []
    if found:
        reasons.append(f"{len(found)} alarm{'s' * (len(found) > 1)}, the first: {found[0].words}")
    return Advice("unstable", " ".join(reasons), change)


def _worse(log: TrainingLog) -> str:
    """Say that the adapter predicts the validation data no better than the base without it."""
    first, best = log.evaluations[:1], log.best
    if not first or first[0].step or best is None or best.loss < first[0].loss:
        return ""
    return (
        f"The validation loss was {first[0].loss:.3f} before training and never fell below it "
        f"(lowest {best.loss:.3f} at step {best.step}): the base alone is better."
    )


def overfitting(log: TrainingLog, config: TrainConfig) -> Advice | None:
    """Validation is much worse than training, or has turned."""
    seen = _seen(log)
    if not seen:
        return None
    reasons = []
    last, limit = seen[-1], config.evaluation.gap
    if last.gap is not None and last.gap > limit:
        reasons.append(
            f"the validation loss ends {last.gap:.3f} above the training loss ({last.loss:.3f} "
            f"against {last.train_loss:.3f}; {limit:g} is allowed)"
        )
    best = log.best
    if (
        best is not None
        and last.step > best.step
        and last.loss - best.loss > TURNED * abs(best.loss)
    ):
        reasons.append(
            f"the validation loss was lowest at step {best.step} of {last.step} "
            f"({best.loss:.3f}) and rose to {last.loss:.3f}"
        )
    if not reasons:
        return None
    return Advice("overfitting", _sentence(reasons), _less(config))


def _less(config: TrainConfig) -> str:
    lora, epochs = config.lora, config.optimiser.epochs
    parts = []
    if lora.r > LOWEST_RANK:
        parts.append(_rank(lora, max(LOWEST_RANK, lora.r // 2)))
    if lora.dropout < MOST_DROPOUT:
        more = min(MOST_DROPOUT, round(lora.dropout + MORE_DROPOUT, 4))
        parts.append(f"lora.dropout {lora.dropout:g} -> {more:g}")
    if epochs > 1:
        parts.append(f"optimiser.epochs {epochs:g} -> {max(1.0, epochs - 1):g}")
    else:
        rate = config.optimiser.learning_rate
        parts.append(f"optimiser.learning_rate {rate:g} -> {rate / 2:g}, or more data")
    return "; ".join(parts)


def underfitting(log: TrainingLog, config: TrainConfig) -> Advice | None:
    """The loss was still falling at the end, or has hardly fallen at all."""
    reasons = [reason for reason in (_falling(log), _hardly(log)) if reason]
    if not reasons:
        return None
    lora, epochs = config.lora, config.optimiser.epochs
    parts = [_rank(lora, min(HIGHEST_RANK, lora.r * 2))] if lora.r < HIGHEST_RANK else []
    parts.append(f"optimiser.epochs {epochs:g} -> {epochs + 1:g}")
    if config.optimiser.max_steps is not None:
        parts.append(f"raise optimiser.max_steps, now {config.optimiser.max_steps}")
    parts.append(f"review the data: {REVIEW[config.task]}")
    return Advice("underfitting", _sentence(reasons), "; ".join(parts))


def _falling(log: TrainingLog) -> str:
    seen = _seen(log)
    if len(seen) < 2 or log.best is None or seen[-1].step != log.best.step:
        return ""
    last = seen[-1]
    before = [e for e in seen[:-1] if e.step <= LATE * last.step] or seen[:1]
    fallen = 1 - last.loss / before[-1].loss if before[-1].loss > 0 else 0.0
    if log.status == "stopped-early" or fallen < STILL_FALLING:
        return ""
    return (
        f"the validation loss was still falling at the end, from {before[-1].loss:.3f} at step "
        f"{before[-1].step} to {last.loss:.3f} at step {last.step}"
    )


def _hardly(log: TrainingLog) -> str:
    quarter = max(1, len(log.steps) // 4)
    first, last = mean_loss(log.steps[:quarter]), mean_loss(log.steps[-quarter:])
    if len(log.steps) < 2 or first is None or last is None or not first > 0:
        return ""
    fallen = 1 - last / first
    if not fallen < HARDLY:
        return ""
    words = "has risen" if fallen < 0 else f"has fallen by {fallen:.1%} only"
    return f"the training loss {words}, from {first:.3f} to {last:.3f}"


def style_drift(log: TrainingLog, config: TrainConfig) -> Advice | None:
    """Sample answers repeat themselves, or are of another length than the examples' answers."""
    if config.task != "causal-lm":  # others answer with a number
        return None
    shown = [e for e in log.evaluations if e.samples and e.step > 0]
    best = None if log.best is None else log.best.step
    judged = next((e for e in shown if e.step == best), shown[-1] if shown else None)
    drift = None if judged is None else find_drift(judged.samples, config.evaluation.sample_tokens)
    if judged is None or drift is None:
        return None
    because = _sentence((*drift.reasons, f"these are the samples of step {judged.step}"))
    return Advice("style-drift", because, "; ".join(drift.changes))


def no_validation(log: TrainingLog, config: TrainConfig) -> Advice | None:
    """Nothing was held back."""
    if log.evaluations:
        return None
    return Advice(
        "no-validation", "No evaluation was made: whether the run overfits cannot be said.",
        "data.validation, or a split made by loragraft dataset split",
    )  # fmt: skip


RULES: tuple[Rule, ...] = (unstable, overfitting, underfitting, style_drift, no_validation)


def _nothing(log: TrainingLog) -> Advice:
    last, best = log.evaluations[-1], log.best
    gap = "" if last.gap is None else f", {last.gap:+.3f} from the training loss"
    low = "" if best is None else f", lowest {best.loss:.3f} at step {best.step}"
    words = f"The validation loss ends at {last.loss:.3f}{gap}{low}; no rule has anything to say."
    return Advice("none", words, "")


def _seen(log: TrainingLog) -> list[Evaluation]:
    return [e for e in log.evaluations if e.step > 0]


def scaled_alpha(lora: LoraSettings, rank: int) -> float:
    """Return the alpha of another rank at which the change of the weights is scaled as before.

    That is alpha / r for LoRA. rsLoRA divides by sqrt(r) so that alpha need not change.
    """
    return lora.alpha if lora.rslora else lora.alpha * rank / lora.r


def _rank(lora: LoraSettings, rank: int) -> str:
    words = f"lora.r {lora.r} -> {rank}"
    alpha = scaled_alpha(lora, rank)
    if alpha == lora.alpha:
        return words
    return f"{words} with lora.alpha {lora.alpha:g} -> {alpha:g}, so that alpha / r stays"


def _sentence(reasons: list[str] | tuple[str, ...]) -> str:
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}."
