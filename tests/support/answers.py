"""Samples and records as metrics see them, with as little said as a test needs."""

from __future__ import annotations

from typing import Any

from loragraft.dataset.records import Qa
from loragraft.experiment.records import PassageShown, Retrieved, Sample


def sample(answer: str = "", question: str = "q1", **changes: Any) -> Sample:  # noqa: ANN401
    """Return a sample that is well but for what is changed."""
    values: dict[str, Any] = {
        "experiment": "arm", "question_id": question, "repeat": 0, "task_type": "entity",
        "paper_id": None, "seed": 1, "messages": (), "status": "ok", "answer": answer,
        "finish": "stop",
    }  # fmt: skip
    return Sample(**{**values, **changes})


def asked(*answers: str, question: str = "", evidence: tuple[str, ...] = (), id: str = "q1") -> Qa:
    """Return a question with its accepted answers."""
    return Qa(id, "entity", question or "Which one?", answers or ("yes",), evidence)


def found(doc_id: str, start: int, stop: int) -> Retrieved:
    """Return a passage that a search found."""
    return Retrieved(f"{doc_id}:{start}-{stop}", doc_id, start, stop, 1.0)


def shown(label: str, doc_id: str, start: int, stop: int, text: str = "") -> PassageShown:
    """Return a passage of a prompt."""
    name = f"{doc_id}:{start}-{stop}"
    return PassageShown(label, name, doc_id, "", start, stop, text, 1.0, int(label[1:]))


def cite(answer: str, written: str, label: str, *, known: bool = True) -> dict[str, Any]:
    """Return the citation that is written in an answer."""
    start = answer.index(written)
    return {"label": label, "start": start, "stop": start + len(written), "known": known}
