"""A series' experiments judged in pairs, as its configuration says.

Verdicts lie in ``OUTPUTS/SERIES/judge/A__B.jsonl``, one line for each question to the judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from loragraft.artifact.closing import Closing
from loragraft.artifact.progress import Progress, Silent
from loragraft.dataset.records import Qa, Reply, TaskRecord
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.errors import InputError
from loragraft.experiment.config import JudgeConfig, SeriesConfig
from loragraft.experiment.facts import changed
from loragraft.experiment.judge.asking import Settings
from loragraft.experiment.judge.book import VerdictBook, judge_key, read_verdicts
from loragraft.experiment.judge.pairwise import Judged, Pair, judge_pairs, make_pairs, settle
from loragraft.experiment.judge.prompt import Material, pair_prompt
from loragraft.experiment.judge.summary import PairSummary, summarise
from loragraft.experiment.key import PACE, record_digest
from loragraft.experiment.records import Sample
from loragraft.rag.answering.counting import BEGIN_TOKENS, TURN_TOKENS, estimate

JUDGED = ("qa", "reply")
"""Kinds of task whose answers are texts that can be compared."""
FOLDER = "judge"

SamplesOf = Callable[[str], Iterable[Sample]]
"""Returns an experiment's samples; none of one that was not run."""
GoldOf = Callable[[TaskRecord], Sequence[str]]
"""Returns the texts of a question's gold evidence."""

REPAIR_TOKENS = 160
"""Of the turn that asks for a malformed verdict again."""


@dataclass(frozen=True)
class Gold:
    """Where the texts of gold evidence come from.

    Attributes:
        texts: Finds them, see :func:`loragraft.experiment.gold.gold_texts`.
        identity: Of the index they stand in, as JSON values.
    """

    texts: GoldOf
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class PairResult:
    """Two experiments and what became of their pairs."""

    summary: PairSummary
    judged: tuple[Judged, ...]


def judge_settings(config: SeriesConfig) -> Settings:
    """Return how a series' judge is asked.

    Raises:
        InputError: If it has none.
    """
    judge = _judge(config)
    return Settings(judge.max_tokens, judge.retries, config.seed)


def _judge(config: SeriesConfig) -> JudgeConfig:
    if config.judge is None:
        raise InputError(
            f"The series {config.series} has no judge: give it one (judge: engine: ...)."
        )
    return config.judge


def pair_names(config: SeriesConfig) -> list[tuple[str, str]]:
    """Return which experiments are compared: those named, or each one with the baseline.

    Raises:
        InputError: If a pair names no experiment, the same one twice, or two of different tasks.
    """
    judge = _judge(config)
    if judge.pairs:
        return [check_pair(config, *pair) for pair in judge.pairs]
    pairs = baseline_pairs(config)
    if pairs is None:
        baseline = str(config.resolve(config.baseline))
        raise InputError(
            f"The series' baseline {baseline} has the task {config.experiments[baseline].task}, "
            "whose answers are no texts to compare. Name the pairs to judge (judge: pairs:), or "
            "leave the judge out."
        )
    return pairs


def baseline_pairs(config: SeriesConfig) -> list[tuple[str, str]] | None:
    """Return each experiment with the baseline; None where its answers are no texts to compare."""
    baseline = str(config.resolve(config.baseline))
    task = config.experiments[baseline].task
    if task not in JUDGED:
        return None
    return [
        (name, baseline)
        for name, experiment in config.experiments.items()
        if name != baseline and experiment.task == task
    ]


def check_pair(config: SeriesConfig, a: str, b: str) -> tuple[str, str]:
    """Return the experiments that two names or aliases mean.

    Raises:
        InputError: If they cannot be compared.
    """
    names = [config.resolve(name) for name in (a, b)]
    for asked, name in zip((a, b), names, strict=True):
        if name is None:
            raise InputError(
                f"{asked} is no experiment of the series {config.series}; it has "
                f"{', '.join(config.experiments)}."
            )
    first, second = (str(name) for name in names)
    tasks = [config.experiments[name].task for name in (first, second)]
    if first == second:
        raise InputError(f"{a} and {b} are the same experiment: {first}. Name two.")
    if tasks[0] != tasks[1] or tasks[0] not in JUDGED:
        raise InputError(
            f"{first} has the task {tasks[0]} and {second} {tasks[1]}; pairs are judged of two "
            f"experiments with the same task, {' or '.join(JUDGED)}."
        )
    return first, second


def verdict_path(config: SeriesConfig, a: str, b: str) -> Path:
    """Return where the verdicts on two experiments lie."""
    name = f"{a}__{b}"
    if name.count("__") > 1 or len(name.encode("utf-8")) > 120:  # another pair's name, or too long
        mark = hashlib.sha256(f"{a}\0{b}".encode()).hexdigest()[:12]
        name = name.encode("utf-8")[:100].decode("utf-8", "ignore").rstrip(". ") + f".{mark}"
    return config.outputs / config.series / FOLDER / f"{name}.jsonl"


def material_of(record: TaskRecord, gold_of: GoldOf | None = None) -> Material:
    """Return what the answers to a record are judged by.

    Raises:
        InputError: If its answers are no texts that can be compared.
    """
    if isinstance(record, Qa):
        evidence = tuple(gold_of(record)) if gold_of is not None else ()
        return Material(record.question, record.answers, evidence)
    if isinstance(record, Reply):
        return Material(record.prompt, (record.reply,), kind="reply")
    raise InputError(f"The record {record.id} has no answers that can be compared in pairs.")


def judge_series(
    config: SeriesConfig,
    records: Sequence[TaskRecord],
    samples_of: SamplesOf,
    open_engine: Callable[[int], BatchEngine],
    *,
    gold: Gold | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[PairResult]:
    """Judge the pairs of a series; what was judged before is not asked again.

    Args:
        config: With a judge.
        records: The questions.
        samples_of: Finds an experiment's samples.
        open_engine: Opens the judge for conversations of so many tokens; called only where there
            is something to ask, or its files have changed. It is closed at the end.
        gold: Where the texts of gold evidence come from.
        facts: Of the judge's files, as :mod:`loragraft.experiment.facts` tells them.
        progress: Hears how far it is.

    Raises:
        InputError: If the series has no judge, or its pairs cannot be compared.
        LockedError: If another process judges the same pair.
        LoragraftError: If the judge can answer nothing at all; its verdicts so far are kept.
    """
    shown, settings = progress or Silent(), judge_settings(config)
    materials = _Materials(records, gold)
    wanted = _pairs(config, materials.records, samples_of, shown)
    for note in judge_notes(config):
        shown.note(note)

    def opened() -> BatchEngine:
        return open_engine(_needed((pairs for _, _, pairs in wanted), materials, settings))

    key, results = _key(config, settings, gold), []
    with closing(_Opened(opened)) as judge:
        for a, b, pairs in wanted:
            with VerdictBook(verdict_path(config, a, b), key) as book:
                _tell_moved(book, shown)
                _check_facts(book, dict(facts or {}), judge)
                found = judge_pairs(pairs, book, judge.get, materials.get, settings, shown)
                _tell_moved(book, shown)
            results.append(PairResult(summarise(a, b, found), tuple(found)))
    return results


def judged_series(
    config: SeriesConfig, records: Sequence[TaskRecord], samples_of: SamplesOf
) -> list[PairResult]:
    """Return what the judge has said of a series so far; nobody is asked, nothing is written.

    Raises:
        InputError: If a file of verdicts cannot be read.
    """
    by_id = _Materials(records, None).records
    results = []
    for a, b, pairs in _pairs(config, by_id, samples_of, Silent()):
        path = verdict_path(config, a, b)
        known = read_verdicts(path) if path.exists() else {}
        found = settle(pairs, known.get)
        results.append(PairResult(summarise(a, b, found), tuple(found)))
    return results


def judge_notes(config: SeriesConfig) -> list[str]:
    """Return what a person should know of a series' judge: that it judges itself."""
    spec = _judge(config).engine
    own = [
        name
        for name, experiment in config.experiments.items()
        if getattr(experiment.engine, "kind", None) == spec.kind
        and getattr(experiment.engine, "model", None) == spec.model
    ]
    if not own:
        return []
    return [
        f"The judge {spec.model} is also the model of {', '.join(own)}: models prefer their own "
        "answers. Take another judge where there is one."
    ]


class _Materials:
    """What answers are judged by, looked up when it is first wanted."""

    def __init__(self, records: Iterable[TaskRecord], gold: Gold | None) -> None:
        self.records = {one.id: one for one in records if isinstance(one, Qa | Reply)}
        self._gold = None if gold is None else gold.texts
        self._found: dict[str, Material] = {}

    def get(self, name: str) -> Material:
        if name not in self._found:
            self._found[name] = material_of(self.records[name], self._gold)
        return self._found[name]


class _Opened(Closing):
    """An engine that is opened when it is first wanted."""

    def __init__(self, opens: Callable[[], BatchEngine]) -> None:
        self._open, self._engine = opens, None  # type: tuple[Callable[[], BatchEngine], Any]

    def get(self) -> BatchEngine:
        if self._engine is None:
            self._engine = self._open()
        return cast("BatchEngine", self._engine)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def _pairs(
    config: SeriesConfig,
    records: Mapping[str, Qa | Reply],
    samples_of: SamplesOf,
    progress: Progress,
) -> list[tuple[str, str, list[Pair]]]:
    """Return the pairs of all experiments that are compared and have answers."""
    limit, found = _judge(config).limit, []
    for a, b in pair_names(config):
        samples = {name: list(samples_of(name)) for name in (a, b)}
        absent = [name for name in (a, b) if not samples[name]]
        if absent:
            progress.note(f"{a} and {b} are not compared: {' and '.join(absent)} has no answers.")
            continue
        kind = Qa if config.experiments[a].task == "qa" else Reply
        digests = {one.id: record_digest(one) for one in records.values() if isinstance(one, kind)}
        pairs = make_pairs(samples[a], samples[b], digests, limit=limit, seed=config.seed)
        found.append((a, b, pairs))
    return found


def _needed(pairs: Iterable[Iterable[Pair]], materials: _Materials, settings: Settings) -> int:
    """Return tokens that the longest conversation with its verdict may have, a repair included."""
    prompts = (
        pair_prompt(materials.get(pair.question_id), pair.a, pair.b)
        for some in pairs
        for pair in some
        if not pair.missing
    )
    longest = max((estimate(prompt) for prompt in prompts), default=0)
    turns = BEGIN_TOKENS + 3 * TURN_TOKENS + REPAIR_TOKENS
    return longest + turns + 2 * settings.max_tokens


def _key(config: SeriesConfig, settings: Settings, gold: Gold | None) -> str:
    engine = _judge(config).engine.model_dump(mode="json", exclude=set(PACE))
    evidence = None if gold is None else dict(gold.identity)
    return judge_key({"engine": engine, "evidence": evidence}, settings)


def _check_facts(book: VerdictBook, facts: dict[str, Any], judge: _Opened) -> None:
    """Open the judge where its files are not those that it had: is it still the same?"""
    if book.facts is not None and changed(book.facts, facts):
        book.bind(judge.get().identity())
    if facts and book.facts != facts:
        book.tell_facts(facts)


def _tell_moved(book: VerdictBook, progress: Progress) -> None:
    if book.moved is not None:
        progress.note(
            f"The verdicts in {book.path.name} are of another judge, or of other evidence; they "
            f"were moved to {book.moved.name}."
        )
        book.moved = None
