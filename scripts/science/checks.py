"""What must hold for every collection, whatever the fields' files say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from scripts.science.collection import Collection
from scripts.science.fields import COMPARISON, NUMERIC, YES_NO

WORDS = (300, 900)
"""Fewest and most words of a paper."""


def problems(collection: Collection) -> list[str]:
    """Return everything that is wrong with a collection."""
    return [problem for check in CHECKS for problem in check(collection)]


def evidence_holds_answer(collection: Collection) -> Iterator[str]:
    """The evidence is a whole sentence that holds the answer."""
    texts = {paper.paper_id: paper.text for paper in collection.papers}
    for task in collection.tasks:
        doc_id, _, span = task["evidence"][0].partition("#")
        start, stop = map(int, span.split("-"))
        sentence = texts[doc_id][start:stop]
        if not (sentence[0].isupper() and sentence.endswith(".")):
            yield f"{task['id']}: the evidence is no sentence: {sentence!r}"
        if texts[doc_id].count(sentence) != 1:
            yield f"{task['id']}: its evidence stands in the paper twice"
        if task["task_type"] != YES_NO and task["answers"][0].casefold() not in sentence.casefold():
            yield f"{task['id']}: {task['answers'][0]!r} is not in {sentence!r}"


def questions_name_one_paper(collection: Collection) -> Iterator[str]:
    """Every question names its own paper's subject or place, and no other paper's."""
    names = {
        name: paper.paper_id for paper in collection.papers for name in paper.subject.words.values()
    }
    if len(names) != 2 * len(collection.papers):
        yield "two papers share a name"
    for paper in collection.papers:
        for name in paper.subject.words.values():
            if not has(paper.text, name):
                yield f"{paper.paper_id}: does not say {name!r}"
    for task in collection.tasks:
        found = {paper for name, paper in names.items() if has(task["question"], name)}
        if found != {task["paper_id"]}:
            yield f"{task['id']}: names {sorted(found)}: {task['question']}"


def answers_stand_in_no_question(collection: Collection) -> Iterator[str]:
    """No question tells another one's answer."""
    words = {task["id"]: f" {' '.join(tokens(task['question']))} " for task in collection.tasks}
    everything = "\n".join(words.values())
    for task in collection.tasks:
        if task["task_type"] == YES_NO:
            continue
        allowed = {task["id"]} if task["task_type"] == COMPARISON else set()
        for answer in task["answers"]:
            wanted = f" {' '.join(tokens(answer))} "
            if wanted not in everything:
                continue
            for other in sorted({one for one in words if wanted in words[one]} - allowed):
                yield f"{task['id']}: its answer {answer!r} stands in the question {other}"


def questions_differ(collection: Collection) -> Iterator[str]:
    """No question is asked twice, and no fact either."""
    for key in ("id", "question"):
        counts = Counter(task[key] for task in collection.tasks)
        yield from (f"twice: {text}" for text, count in counts.items() if count > 1)
    counts = Counter(task["evidence"][0] for task in collection.tasks)
    yield from (f"asked twice: {text}" for text, count in counts.items() if count > 1)
    for task in collection.tasks:
        question = task["question"]
        if not question.isascii() and task["task_type"] != NUMERIC:
            yield f"{task['id']}: letters that are not plain: {question}"
        if re.search(r"[<>{}]|  |\ba/an\b", question) or question[-1] not in "?.":
            yield f"{task['id']}: reads badly: {question}"


def papers_are_whole(collection: Collection) -> Iterator[str]:
    """Papers have their length, no slots left and no sentence twice."""
    seen: Counter[str] = Counter()
    for paper in collection.papers:
        count = len(paper.text.split())
        if not WORDS[0] <= count <= WORDS[1]:
            yield f"{paper.paper_id}: has {count} words"
        if re.search(r"[<>{}]|  |\ba/an\b", paper.text):
            yield f"{paper.paper_id}: has a slot that was not filled"
        if len({made.sentence for made in paper.statements.values()}) != len(paper.statements):
            yield f"{paper.paper_id}: says the same twice"
        seen[paper.text] += 1
    yield from ("two papers are the same" for count in seen.values() if count > 1)


def kinds_are_balanced(collection: Collection) -> Iterator[str]:
    """As many questions are answered yes as no; comparisons name the answer first as often."""
    answers = Counter(t["answers"][0] for t in collection.tasks if t["task_type"] == YES_NO)
    if len(set(answers.values())) != 1 or set(answers) != {"yes", "no"}:
        yield f"yes and no are not balanced: {dict(answers)}"


CHECKS: tuple[Callable[[Collection], Iterator[str]], ...] = (
    evidence_holds_answer,
    questions_name_one_paper,
    answers_stand_in_no_question,
    questions_differ,
    papers_are_whole,
    kinds_are_balanced,
)


def tokens(text: str) -> list[str]:
    """Return a text's words and numbers, in lower case."""
    return re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+", text.casefold())


def has(text: str, name: str) -> bool:
    """Return whether a text names something."""
    return f" {' '.join(tokens(name))} " in f" {' '.join(tokens(text))} "
