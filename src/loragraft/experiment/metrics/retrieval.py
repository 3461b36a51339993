"""What was found of the gold passages, and where a wrong answer went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from loragraft.dataset.records import Qa, TaskRecord, parse_evidence
from loragraft.experiment.metrics.measured import EachSample, Measured, Missing, Value
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.metrics.squad import normalise_answer, plain_answer
from loragraft.experiment.records import PassageShown, Retrieved, Sample
from loragraft.rag.search.quality import Question, holds, measure

NOT_RETRIEVED, NOT_SHOWN = "miss_not_retrieved", "miss_not_shown"
NOT_USED, USED_WRONG = "miss_not_used", "miss_used_wrong"
MISSES = (NOT_RETRIEVED, NOT_SHOWN, NOT_USED, USED_WRONG)
"""Why an answer is wrong; of a wrong answer exactly one of them is 1."""
USED = 0.5
"""Of an answer's words that the question does not hold, how many must stand in a gold passage for
an answer without citations to rest on it."""
_IR = "Manning et al. 2008, ch. 8; gold passages in place of documents"
_NDCG = "Järvelin and Kekäläinen 2002, binary gain; gold passages in place of documents"
DEPTH = 10
"""Passages among which gold ones are looked for, shown or not."""
Right = Callable[[Sample, TaskRecord], bool]
"""Whether an answer is right."""


def retrieval(shown: int) -> EachSample:
    """Return recall, nDCG and reciprocal rank among the first passages found.

    Args:
        shown: How many passages a prompt holds; measured beside the first ten.
    """
    depths = sorted({max(shown, 1), DEPTH})
    infos = tuple(info for k in depths for info in _infos(k))

    def look(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
        gold = gold_passages(record)
        if not gold:
            return dict.fromkeys((info.name for info in infos), _no_gold())
        return {name: one for k in depths for name, one in _at(k, sample, gold).items()}

    return EachSample(infos, look, lambda: {"depths": depths})


def _infos(k: int) -> Iterator[MetricInfo]:
    yield MetricInfo(f"recall@{k}", "share", "higher", "diagnostic", _IR)
    yield MetricInfo(f"ndcg@{k}", "share", "higher", "diagnostic", _NDCG)
    yield MetricInfo(f"mrr@{k}", "share", "higher", "diagnostic", _IR)


def _at(k: int, sample: Sample, gold: Sequence[Question]) -> dict[str, Measured]:
    found, right = units(sample.retrieved[:k], gold)
    ranks = [rank for rank, name in enumerate(found, 1) if name in right]
    detail = {"ranks": ranks, "gold": len(right)}
    return {f"{name}@{k}": Value(value, detail) for name, value in measure(found, right, k).items()}


def misses(right: Right, version: int = 1) -> EachSample:
    """Return where wrong answers went wrong, each as a share of all answers.

    Args:
        right: Tells right answers from wrong ones.
        version: Of what it does.
    """
    source = "loragraft: docs/metrics.md"
    infos = tuple(
        MetricInfo(name, "share", "lower", "diagnostic", source, version) for name in MISSES
    )

    def look(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
        gold = gold_passages(record)
        if not gold:
            return dict.fromkeys(MISSES, _no_gold())
        why = None if right(sample, record) else attribute(sample, record, gold)
        return {name: Value(float(name == why)) for name in MISSES}

    return EachSample(infos, look)


def _no_gold() -> Missing:
    return Missing("the record names no gold passage")


def gold_passages(record: TaskRecord) -> list[Question]:
    """Return the places of a record's gold passages, each once; none for records without."""
    texts = record.evidence if isinstance(record, Qa) else ()
    places = dict.fromkeys(parse_evidence(text) for text in texts)
    return [Question("", place.doc_id, place.start, place.stop) for place in places]


def held(passage: Retrieved | PassageShown, gold: Sequence[Question]) -> list[int]:
    """Return the numbers of the gold passages that a passage holds: half of the shorter one."""
    return [
        number for number, place in enumerate(gold)
        if passage.doc_id == place.doc_id and holds(passage.start, passage.stop, place)
    ]  # fmt: skip


def units(retrieved: Sequence[Retrieved], gold: Sequence[Question]) -> tuple[list[str], set[str]]:
    """Return a name for each passage found, and the names that are right.

    A gold passage is found by the first passage that holds it; what one passage finds together
    counts as one, and finding it again counts for nothing.
    """
    open_places = set(range(len(gold)))
    found: list[str] = []
    right: set[str] = set()
    for rank, passage in enumerate(retrieved, 1):
        new = open_places.intersection(held(passage, gold))
        name = f"{'gold' if new else 'other'} {rank}"
        found.append(name)
        right |= {name} if new else set()
        open_places -= new
    return found, right | {f"missing {number}" for number in open_places}


def attribute(sample: Sample, record: TaskRecord, gold: Sequence[Question]) -> str:
    """Return why a wrong answer is wrong."""
    shown = [one for one in sample.shown if held(one, gold)]
    if not shown:
        found = any(held(one, gold) for one in sample.retrieved)
        return NOT_SHOWN if found else NOT_RETRIEVED
    return USED_WRONG if _used(sample, record, shown) else NOT_USED


def _used(sample: Sample, record: TaskRecord, gold: Sequence[PassageShown]) -> bool:
    """Say whether an answer rests on a gold passage: cites it, or speaks its words."""
    known = [str(one.get("label")) for one in sample.citations if one.get("known")]
    if known:
        return any(one.label in known for one in gold)
    asked = record.question if isinstance(record, Qa) else ""
    own = set(normalise_answer(plain_answer(sample)).split())
    own -= set(normalise_answer(asked).split())
    words = set(normalise_answer(" ".join(one.text for one in gold)).split())
    return bool(own) and len(own & words) >= USED * len(own)
