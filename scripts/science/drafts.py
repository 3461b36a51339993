"""The drafts that the task records were chosen from: all of them, and some that are no good.

Each fault is one that people and models make when they write questions, and that a rule of
``configs/curation/qa.yaml`` drops. Curating the drafts gives the task records, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scripts.science.choose import Choice
from scripts.science.collection import Collection
from scripts.science.fields import ENTITY, METHOD, NUMERIC, YES_NO

Task = dict[str, Any]

EACH = 3
"""Drafts with each fault."""

_FOREIGN = (
    "Bei welcher Temperatur wurden die Proben gemessen, die man {name} nennt?",
    "Quelle est la valeur que les chercheurs ont obtenue lors de leurs essais sur {name} ?",
    "¿Qué instrumento utilizaron los investigadores durante sus mediciones de {name}?",
)
_LEANING = (
    "What do the authors conclude about {name} at the end?",
    "According to the text, which value was measured for {name}?",
    "What is the most important result on {name} in this study?",
)
_LONG = (
    "Considering everything that is known about {name}, its history, the people who worked on it, "
    "the instruments they had, the seasons in which they went out, the doubts that remained when "
    "they came back, and all the rest that one would have to weigh before any judgement is made at "
    "all, what would a careful reader say?"
)


def make_drafts(collection: Collection, choice: Choice) -> list[Task]:
    """Return all task records in their order, with faulty drafts somewhere behind their source."""
    placed: list[tuple[int, int, Task]] = [
        (place, -1, task) for place, task in enumerate(collection.tasks)
    ]
    names = {paper.paper_id: paper.subject.name for paper in collection.papers}
    number = 0
    for name, (kinds, spoil) in FAULTS.items():
        fitting = [
            place for place, task in enumerate(collection.tasks) if task["task_type"] in kinds
        ]
        order = choice.at(name).shuffled(fitting)
        for turn, place in enumerate(order[:EACH]):
            task = collection.tasks[place]
            draft = {**task, "id": f"{task['id']}-draft", **spoil(task, turn)}
            draft["question"] = draft["question"].replace("{name}", names[task["paper_id"]])
            behind = place + choice.at(name, turn).below(len(collection.tasks) - place)
            number += 1
            placed.append((behind, number, {key: v for key, v in draft.items() if v is not None}))
    return [task for _, _, task in sorted(placed, key=lambda item: item[:2])]


def _typo(task: Task) -> str:
    """Return the question with its last letter gone."""
    return str(task["question"][:-2] + task["question"][-1])


def _worded(texts: Sequence[str]) -> Callable[[Task, int], Task]:
    """Return what words the question anew; its name is filled in later."""
    return lambda _task, turn: {"question": texts[turn % len(texts)]}


_ANY = (NUMERIC, ENTITY, METHOD)

FAULTS: dict[str, tuple[Sequence[str], Callable[[Task, int], Task]]] = {
    "too short": (_ANY, lambda task, turn: {"question": ("How hot?", "Which?", "And then?")[turn]}),
    "too long": (_ANY, _worded([_LONG])),
    "says little": (_ANY, _worded(["{name}: which, which, which, and which?"])),
    "no answer": (_ANY, lambda _task, _turn: {"answers": []}),
    "answer too long": (
        _ANY,
        lambda task, _turn: {"answers": [f"As far as one can tell, {task['answers'][0]}, " * 5]},
    ),
    "no evidence": (_ANY, lambda _task, _turn: {"evidence": []}),
    "no paper": (_ANY, lambda _task, _turn: {"paper_id": None}),
    "leans on a text": (_ANY, _worded(_LEANING)),
    "has a link": (
        _ANY,
        lambda task, _turn: {"question": f"{task['question']} See https://example.org/paper.pdf"},
    ),
    "tells the answer": (
        (NUMERIC, ENTITY),
        lambda task, _turn: {"question": f"{task['question']} Was it {task['answers'][0]}?"},
    ),
    "neither yes nor no": ((YES_NO,), lambda _task, _turn: {"answers": ["it depends"]}),
    "another language": (_ANY, _worded(_FOREIGN)),
    "asked again": (_ANY, lambda _task, _turn: {}),
    "asked again in capitals": (_ANY, lambda task, _turn: {"question": task["question"].upper()}),
    "asked again with a slip": (_ANY, lambda task, _turn: {"question": _typo(task)}),
}
"""Each fault by name: the types of the records that can have it, and what it changes."""
