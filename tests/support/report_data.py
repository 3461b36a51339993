"""A made-up analysis of any size, with samples that carry its figures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt

from loragraft.experiment.analysis.model import (
    Analysis,
    Browsable,
    Comparison,
    Condition,
    Control,
    Distribution,
    Effect,
    Figure,
    Protocol,
    ShownAnswer,
    ShownPassage,
    ShownQuestion,
    Slice,
    Verdict,
)
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.statistics.results import Interval, TestResult

BASELINE, TUNED, HYBRID = "rag_baseline_0p5", "lora_science_0p5_ft", "hybrid_science_0p5"
RIGHT = {BASELINE: 0.48, TUNED: 0.31, HYBRID: 0.58}
TYPES = ("numeric", "entity", "method", "yes_no", "comparison")
FACTUALITY, GROUNDING = "factuality", "grounding_coverage"
INFOS = (
    MetricInfo(FACTUALITY, "share", "higher", "main", "docs/metrics.md"),
    MetricInfo(GROUNDING, "share", "higher", "main", "docs/grounding.md"),
    MetricInfo("citations_fabricated", "count", "lower", "main", "docs/grounding.md"),
    MetricInfo("token_f1", "share", "higher", "sanity", "SQuAD, arXiv 1606.05250"),
    MetricInfo("first_token_seconds", "seconds", "lower", "diagnostic", "docs/metrics.md"),
)
BIRDS = ("Lesser Pintle", "Banded Corrin", "Ochre Tirrock", "Grey Sallow", "Marsh Dunnel")
PLACES = ("Cape Harrow", "Loch Sorrel", "the Stack of Voe", "Candle Hall", "Oxbow")


@dataclass(frozen=True)
class Made:
    """What belongs together."""

    analysis: Analysis
    browsable: Browsable


def made(questions: int = 20, *, papers: int = 0, seed: int = 1) -> Made:
    """Make up a series of three experiments.

    Args:
        questions: How many.
        papers: Among them; 0 for one to ten questions.
        seed: Of what is made up.
    """
    papers = papers or max(questions // 10, 2)
    browsable = _browsable(questions, papers, random.Random(seed))
    return Made(_analysis(browsable, papers), browsable)


def _browsable(count: int, papers: int, draw: random.Random) -> Browsable:
    passages = tuple(
        ShownPassage(f"paper-{n // 4:04d}:{n % 4 * 400}-{n % 4 * 400 + 380}", f"paper-{n // 4:04d}",
                     f"Moult and migration of the {BIRDS[n // 4 % 5]} off {PLACES[n // 20 % 5]}",
                     f"Methods\n\nFieldwork began before the first birds arrived and ended after "
                     f"the last had left. In total we ringed {n * 7 % 983} birds at "
                     f"{PLACES[n % 5]}. After dark we watched with red lamps, one to a hide.")
        for n in range(papers * 4)
    )  # fmt: skip
    return Browsable(passages, tuple(_question(n, papers, draw) for n in range(count)))


def _question(number: int, papers: int, draw: random.Random) -> ShownQuestion:
    paper = number % papers
    right = {name: draw.random() < share for name, share in RIGHT.items()}
    expected = (f"{number * 7 % 983} birds", f"{number * 7 % 983}")
    answers = {name: (_answer(name, right, expected[1], paper, draw),) for name in RIGHT}
    return ShownQuestion(
        f"seabirds-{paper:04d}-{number:04d}",
        f"How many birds of the {BIRDS[number % 5]} were ringed at {PLACES[number % 4]} in the "
        f"season of {1950 + number % 70}?",
        expected, TYPES[number % 5], f"paper-{paper:04d}", paper % 3 == 0, answers,
    )  # fmt: skip


def _answer(
    name: str, right: Mapping[str, bool], expected: str, paper: int, draw: random.Random
) -> ShownAnswer:
    if draw.random() < 0.02:
        return ShownAnswer("timeout", "the endpoint did not answer within 30 s", 0, (), {},
                           {FACTUALITY: "timeout", GROUNDING: "timeout"}, ("missing",))  # fmt: skip
    said = expected if right[name] else str(draw.randrange(900))
    cites = name != TUNED and draw.random() < 0.7
    fabricated = cites and draw.random() < 0.05
    label = "P9" if fabricated else f"P{draw.randrange(1, 4)}"
    text = f"In that season {said} birds were ringed there" + (f" [{label}]." if cites else ".")
    start = text.find("[")
    grounded = cites and not fabricated and draw.random() < 0.75
    tags = _tags(name, right)
    tags += ("ungrounded",) if name != TUNED and not grounded else ()
    tags += ("fabricated citation",) if fabricated else ()
    shown = {} if name == TUNED else {f"P{n + 1}": paper * 4 + n for n in range(3)}
    scores: dict[str, float | str] = {
        FACTUALITY: float(right[name]),
        GROUNDING: "not applicable" if name == TUNED else float(grounded),
        "citations_fabricated": "not applicable" if name == TUNED else float(fabricated),
    }
    citations = ((start, start + 4, label),) if cites else ()
    return ShownAnswer("ok", text, 0, citations, shown, scores, tags)


def _tags(name: str, right: Mapping[str, bool]) -> tuple[str, ...]:
    if name == BASELINE:
        return ()
    gain = int(right[name]) - int(right[BASELINE])
    return ({1: "win", 0: "tie", -1: "loss"}[gain],)


def _values(browsable: Browsable, name: str, metric: str) -> dict[str, float]:
    found = ((q.id, q.answers[name][0].scores.get(metric)) for q in browsable.questions)
    return {key: value for key, value in found if isinstance(value, float)}


def _interval(values: Sequence[float], low: float, high: float) -> Interval:
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    half = 1.96 * sqrt(spread / len(values))
    return Interval(max(mean - half, low), min(mean + half, high), 0.95, "t over papers")


def _figure(browsable: Browsable, name: str, metric: str, papers: int) -> Figure:
    of = len(browsable.questions)
    if name == TUNED and metric in (GROUNDING, "citations_fabricated"):
        return Figure(name, metric, None, None, None, None, 0, of, 0, {}, "not applicable")
    if metric in ("token_f1", "first_token_seconds"):
        value = RIGHT[name] * 0.81
        return Figure(name, metric, value, Interval(value - 0.04, value + 0.04, 0.95,
                      "t over papers"), value - 0.03, value + 0.03, of, of, papers)  # fmt: skip
    values = list(_values(browsable, name, metric).values())
    interval = _interval(values, 0, 1)
    missing = {"timeout": of - len(values)} if len(values) < of else {}
    return Figure(name, metric, sum(values) / len(values), interval, interval.low + 0.01,
                  interval.high - 0.01, len(values), of, papers, missing)  # fmt: skip


def _comparison(browsable: Browsable, name: str, metric: str, papers: int) -> Comparison | None:
    mine, theirs = _values(browsable, name, metric), _values(browsable, BASELINE, metric)
    both = sorted(mine.keys() & theirs.keys())
    if not both:
        return None
    gains = [mine[key] - theirs[key] for key in both]
    mean = sum(gains) / len(gains)
    interval = _interval(gains, -1, 1)
    z = abs(mean) / max((interval.high - interval.low) / 3.92, 1e-9)
    p = max(2 * (1 - _normal(z)), 1e-5)
    gating = name == HYBRID and metric == FACTUALITY
    tests = (TestResult("exact McNemar", p * 0.8, None, len(both), "ignores papers"),
             TestResult("Wilcoxon signed rank", p * 0.9, 812.0, len(both), "ignores papers"),
             TestResult("paired t", p * 0.85, z, len(both), "ignores papers"))  # fmt: skip
    return Comparison(
        metric, name, BASELINE, sum(mine[key] for key in both) / len(both),
        sum(theirs[key] for key in both) / len(both), mean, interval, len(both), papers,
        len(browsable.questions) - len(both),
        TestResult("sign flips of papers", p, None, papers), tests, min(p * 1.5, 1.0),
        "gating" if gating else "exploratory", mean / 0.6, sum(gain > 0 for gain in gains),
        sum(gain < 0 for gain in gains), (interval.high - interval.low) / 1.4,
        Protocol(TestResult("Mann-Whitney U", min(p * 2, 1.0), 1234.5, len(both)), 0.19, 0.2),
    )  # fmt: skip


def _normal(z: float) -> float:
    from math import erf

    return (1 + erf(z / sqrt(2))) / 2


def _verdicts(figures: Sequence[Figure], gain: Comparison) -> tuple[Verdict, ...]:
    grounding = next(f for f in figures if f.experiment == HYBRID and f.metric == GROUNDING)
    sure = gain.interval.low > 0
    conditions = (
        Condition("gain", "yes" if gain.difference >= 0.05 else "no",
                  f"{gain.difference * 100:+.1f} points", "at least +5 points"),
        Condition("gain is real", "yes" if sure else "open",
                  f"lower bound {gain.interval.low * 100:+.1f} points, p = {gain.adjusted:.3f}",
                  "above 0, and p below 0.05", "" if sure else "Ask 621 questions."),
        Condition("grounding", "yes", f"lower bound {grounding.lower or 0:.2f}", "at least 0.35"),
        Condition("no leaks", "yes", "No leaks were found.", "no test question in training"),
    )  # fmt: skip
    decided = "promote" if all(one.met == "yes" for one in conditions) else "undecided"
    sentence = {
        "promote": f"{HYBRID} answers {gain.difference * 100:.1f} points more questions correctly "
        f"than {BASELINE}, at least {gain.interval.low * 100:.1f} of them for sure, and its "
        "statements are grounded.",
        "undecided": f"{HYBRID} may be better than {BASELINE}: {gain.count} questions cannot tell. "
        "About 621 would.",
    }[decided]
    other = "It answers without passages, so that nothing it says can be traced."
    return (
        Verdict(BASELINE, "not a candidate", "It is what the others are compared with.", ()),
        Verdict(TUNED, "not a candidate", other, ()),
        Verdict(HYBRID, "promote" if decided == "promote" else "undecided", sentence, conditions,
                gain.difference, gain.interval.low, grounding.value, grounding.lower,
                None if decided == "promote" else 621),
    )  # fmt: skip


def _analysis(browsable: Browsable, papers: int) -> Analysis:
    names = [info.name for info in INFOS]
    figures = tuple(_figure(browsable, name, metric, papers) for name in RIGHT for metric in names)
    compared = (_comparison(browsable, name, metric, papers)
                for metric in names for name in (TUNED, HYBRID))  # fmt: skip
    comparisons = tuple(one for one in compared if one is not None)
    gain = next(one for one in comparisons if one.family == "gating")
    return Analysis(
        "Science, 0.5B", "science_0p5", "0.5B", BASELINE, "2026-11-22T03:40:00Z", "0.9.0",
        {"metric": FACTUALITY, "gain": 0.05, "grounding": 0.35, "protocol": None, "leaks": True},
        _verdicts(figures, gain), {name: _line(name, len(browsable.questions)) for name in RIGHT},
        {info.name: asdict(info) for info in INFOS}, figures, comparisons, {}, _factorial(),
        _fidelity(), tuple(_slices(browsable)), _controls(), tuple(_distributions(browsable)),
        _JUDGED, _HUMAN, _LEAKS, {"qa": {"name": "science_test.jsonl", "split": "science",
        "part": "test", "questions": len(browsable.questions), "sha256": "24fa6c36" * 8}},
        ("2 % of the answers are missing; they are left out on both sides.",),
    )  # fmt: skip


def _line(name: str, total: int) -> dict[str, object]:
    return {
        "name": name, "aliases": ["rag_baseline_v1"] if name == BASELINE else [],
        "state": "complete", "engine": "qwen2.5:0.5b-instruct", "total": total,
        "counts": {"ok": total - 1, "timeout": 1}, "stale": [], "message": "", "notes": [],
        "provenance": {"key": "4223e07133c24970" * 4, "inputs": {"task": "qa", "seed": 20251101,
                       "engine": {"kind": "llama", "sha256": "30946ed5" * 8, "stops": [2]}},
                       "versions": {"loragraft": "0.9.0", "llama-cpp-python": "0.3.36"}},
    }  # fmt: skip


def _slices(browsable: Browsable) -> list[Slice]:
    groups: dict[tuple[str, str], list[ShownQuestion]] = {}
    for question in browsable.questions:
        seen = "seen in training" if question.seen else "not seen"
        for key in (("task type", question.task_type), ("paper", question.paper),
                    ("paper in training", seen)):  # fmt: skip
            groups.setdefault(key, []).append(question)
    return [
        Slice(by, name, metric, len(found), _slice_values(found, metric))
        for metric in (FACTUALITY, GROUNDING)
        for (by, name), found in groups.items()
    ]


def _slice_values(found: Sequence[ShownQuestion], metric: str) -> dict[str, tuple[float, int]]:
    values: dict[str, tuple[float, int]] = {}
    for name in RIGHT:
        scores = list(_values(Browsable((), tuple(found)), name, metric).values())
        if scores:
            values[name] = (sum(scores) / len(scores), len(scores))
    return values


def _factorial() -> tuple[Effect, ...]:
    return (
        Effect("tuning", FACTUALITY, 0.06, Interval(0.01, 0.11, 0.95, "t over papers"), 0.02, 90,
               "Tuning adds 6.0 points, be there passages or not."),
        Effect("retrieval", FACTUALITY, 0.25, Interval(0.19, 0.31, 0.95, "t over papers"), 0.0001,
               90, "Passages add 25.0 points, be the model tuned or not."),
        Effect("interaction", FACTUALITY, -0.02, Interval(-0.08, 0.04, 0.95, "t over papers"), 0.5,
               90, "Whether the two help each other cannot be told."),
    )  # fmt: skip


def _fidelity() -> tuple[Effect, ...]:
    return (
        Effect("science_f16", FACTUALITY, 0.0, Interval(-0.01, 0.01, 0.95, "t over papers"), 0.9,
               90, "The unquantized GGUF is equivalent.", True, 0.05),
        Effect("science_q4", FACTUALITY, -0.03, Interval(-0.07, 0.01, 0.95, "t over papers"), 0.2,
               90, "Q4_K_M may have cost more than 5 points.", False, 0.05),
    )  # fmt: skip


def _controls() -> tuple[Control, ...]:
    return (
        Control("shuffled passages", HYBRID, GROUNDING, 0.06, 0.61, 88, True,
                "Against passages of other questions, grounding falls from 61.0 % to 6.0 %."),
        Control("always yes", "", FACTUALITY, 0.12, None, 20, None,
                "Who always says yes is right on 12.0 % of the questions."),
        Control("constant answer", "", FACTUALITY, 0.14, None, 20, None,
                "The best constant answer, \"no\", is right on 14.0 %."),
    )  # fmt: skip


def _distributions(browsable: Browsable) -> list[Distribution]:
    edges = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
    found = []
    for shift, name in enumerate(RIGHT):
        counts = tuple(max(40 - 12 * abs(bin - 2 - shift), 0) for bin in range(6))
        found += [
            Distribution(name, "first_token_seconds", "seconds", edges, counts, 0.4, 0.3, 0.06,
                         3.0, 88, True),
            Distribution(name, GROUNDING, "share", (0.0, 0.25, 0.5, 0.75, 1.0), (12, 3, 5, 70),
                         0.7, 0.4, 0.0, 1.0, 9),
        ]  # fmt: skip
    return found


_JUDGED = (
    {"a": HYBRID, "b": BASELINE, "pairs": 90, "wins": 41, "losses": 22, "ties": 25, "identical": 6,
     "disagreements": 14, "flips": 5, "missing": {"parse_error": 2}, "win_rate": 0.608,
     "first_rate": 0.57, "attempts": 186, "prompt_tokens": 81000, "tokens": 9200, "cost": None,
     "judged": 88, "disagreement_rate": 0.17},
)  # fmt: skip
_HUMAN = {"pairs-1": {
    "export": "pairs-1", "a": HYBRID, "b": BASELINE, "rows": 30,
    "raters": [{"name": "ada", "rated": 30, "wins": 15, "losses": 8, "ties": 7, "win_rate": 0.62,
                "first_rate": 0.5}],
    "majority": {"name": "majority", "rated": 30, "wins": 15, "losses": 8, "ties": 7,
                 "win_rate": 0.62, "first_rate": None},
    "pairs": [], "fleiss_kappa": None, "fleiss_rows": 0, "alpha": 0.41,
    "judge": {"a": "majority", "b": "judge", "rows": 28, "agreement": 0.71, "kappa": 0.52},
}}  # fmt: skip
_LEAKS = {
    "clean": True, "verdict": "No leaks were found.", "near": 0.9, "embedder": "minilm",
    "records": {"train": 700, "val": 80, "test": 90}, "counts": [], "leaks": [], "unchecked": [],
    "evidence": {"passages": 90, "in_corpus": 90},
}  # fmt: skip
