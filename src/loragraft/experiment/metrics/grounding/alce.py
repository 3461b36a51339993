"""Citation recall and precision as ALCE defines them, and coverage.

Gao et al. 2023, "Enabling Large Language Models to Generate Text with Citations", arXiv 2305.14627,
§3.3; where the text leaves something open, the authors' ``eval.py`` (github.com/princeton-nlp/ALCE)
decides. With φ(passages, statement) for "the passages, one after the other, support it":

- a statement has **recall** 1 if it cites something, everything it cites was shown, and
  φ(all it cites) = 1;
- a citation is **precise** if its statement has recall 1 and it is not irrelevant: irrelevant is
  one that does not support the statement alone while the others do without it;
- an answer's recall is the mean over its statements, its precision the mean over its citations; 0
  where there are none.

**Coverage** is the share of statements with a citation whose passage supports them: one alone or
several together, whatever else they cite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from loragraft.experiment.metrics.grounding.claims import Statement
from loragraft.experiment.metrics.grounding.support import JOINT, Claim, Judgement

Judge = Callable[[Sequence[Claim]], Sequence[Judgement]]


@dataclass(frozen=True)
class Answered:
    """An answer as it is graded.

    Attributes:
        statements: Its sentences.
        passages: Text of what was shown, by label.
    """

    statements: tuple[Statement, ...]
    passages: Mapping[str, str]

    def text(self, labels: Iterable[str]) -> str:
        """Return passages one after the other."""
        return JOINT.join(self.passages[label] for label in labels)

    def joint(self, statement: Statement) -> Claim | None:
        """Return the question whether all that a statement cites supports it; None for none."""
        if not statement.cited:
            return None
        return statement.text, self.text(statement.cited)

    def alone(self, statement: Statement, label: str) -> Claim:
        """Return the question whether one passage supports it."""
        return statement.text, self.passages[label]

    def without(self, statement: Statement, label: str) -> Claim:
        """Return the question whether the others support it."""
        return statement.text, self.text(one for one in statement.cited if one != label)


@dataclass(frozen=True)
class Grade:
    """What becomes of one statement; None where the judge gave no verdict.

    Attributes:
        covered: Whether a citation's passage supports it, alone or with the others.
        recalled: Its recall.
        precise: Of each citation, those of passages never shown last.
        reason: Of the joint judgement, for people.
    """

    covered: bool | None
    recalled: bool | None
    precise: tuple[bool | None, ...]
    reason: str = ""


def grade(answers: Sequence[Answered], judge: Judge) -> list[tuple[Grade, ...]]:
    """Grade all statements of all answers.

    Every claim is judged once, and only if something depends on it: first what each statement
    cites together, then each citation alone, then the others without it.
    """
    known: dict[Claim, Judgement] = {}

    def ask(claims: Iterable[Claim | None]) -> None:
        fresh = [one for one in dict.fromkeys(claims) if one is not None and one not in known]
        if fresh:
            known.update(zip(fresh, judge(fresh), strict=True))

    each = [(answer, one) for answer in answers for one in answer.statements]
    ask(answer.joint(one) for answer, one in each)
    several = [(answer, one) for answer, one in each if len(one.cited) > 1]
    ask(answer.alone(one, label) for answer, one in several for label in one.cited)
    ask(
        answer.without(one, label)
        for answer, one in several
        for label in one.cited
        if not known[answer.alone(one, label)].supported
    )
    return [tuple(_grade(answer, one, known) for one in answer.statements) for answer in answers]


def _grade(answer: Answered, one: Statement, known: Mapping[Claim, Judgement]) -> Grade:
    claim = answer.joint(one)
    fabricated = (False,) * len(one.fabricated)
    if claim is None:
        return Grade(False, False, fabricated, "cites nothing that was shown")
    joint = known[claim]
    alone = [known[answer.alone(one, label)].supported if len(one.cited) > 1 else joint.supported
             for label in one.cited]  # fmt: skip
    recalled = False if one.fabricated else joint.supported
    precise = tuple(
        _both(recalled, _relevant(answer, one, label, verdict, known))
        for label, verdict in zip(one.cited, alone, strict=True)
    )
    return Grade(_any([joint.supported, *alone]), recalled, precise + fabricated, joint.reason)


def _relevant(
    answer: Answered,
    one: Statement,
    label: str,
    alone: bool | None,
    known: Mapping[Claim, Judgement],
) -> bool | None:
    """Whether a citation supports its statement alone, or is missed by the others."""
    if alone or len(one.cited) == 1:
        return True
    others = known[answer.without(one, label)].supported
    return _any([alone, None if others is None else not others])


def _any(verdicts: Sequence[bool | None]) -> bool | None:
    if any(verdicts):
        return True
    return None if None in verdicts else False


def _both(first: bool | None, second: bool | None) -> bool | None:
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def mean(verdicts: Sequence[bool | None]) -> float | None:
    """Return the share of yes; 0 of nothing; None where one verdict is missing."""
    if None in verdicts:
        return None
    return sum(map(bool, verdicts)) / len(verdicts) if verdicts else 0.0
