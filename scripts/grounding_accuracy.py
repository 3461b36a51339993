"""Measure how often a support test is right on the labelled pairs that its thresholds never saw.

    python scripts/grounding_accuracy.py [--embedder all-MiniLM-L6-v2 | --words | --nli FOLDER]
        [--half held_out] [--thresholds]

Prints Markdown: accuracy with its 95 % interval (passages are drawn, not pairs), how often a
supported sentence is recognised and an unsupported one refused, and the same for each kind of pair.
Beside it stands how many sentences are supported by passages about something else.

``--thresholds`` prints what the threshold was chosen by, from the tune half alone.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.experiment.metrics.grounding.nli import NliSupport
from loragraft.experiment.metrics.grounding.overlap import OverlapSupport
from loragraft.experiment.metrics.grounding.pairing import compare
from loragraft.experiment.metrics.grounding.reading import read, sentences
from loragraft.experiment.metrics.grounding.support import Claim, Support
from loragraft.rag.search.quality import Estimate, estimate

PAIRS = Path(__file__).parents[1] / "benchmarks/grounding/pairs.jsonl"
NEAREST = 2
"""Passages of other subjects that a sentence is held against."""
STEPS = tuple(step / 20 for step in range(4, 15))
NEAR_MISSES = frozenset(
    ("number", "entity", "unit", "negation", "antonym", "roles", "hedging", "cause", "scope")
)


@dataclass(frozen=True)
class Labelled:
    """One pair of the file."""

    id: str
    sentence: str
    passage: str
    supported: bool
    kind: str
    half: str

    @property
    def group(self) -> str:
        """Its passage's name."""
        return self.id.rpartition("-")[0]

    @property
    def claim(self) -> Claim:
        """As a support test takes it."""
        return self.sentence, self.passage


def read_pairs(half: str) -> list[Labelled]:
    """Read the pairs of one half."""
    lines = PAIRS.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    fields = Labelled.__dataclass_fields__
    return [Labelled(**{name: row[name] for name in fields}) for row in rows if row["half"] == half]


def crossed(pairs: Sequence[Labelled], embedder: Embedder | None) -> list[Claim]:
    """Return each supported sentence with the passages of other subjects that are nearest to it."""
    passages = list(dict.fromkeys(one.passage for one in pairs))
    held = [one for one in pairs if one.supported]
    claims = [one.sentence for one in held]
    nearest = _by_words(claims, passages)
    if embedder is not None:
        nearest = _by_meaning(claims, passages, embedder)
    return [
        (one.sentence, passage)
        for one in held
        for passage in [each for each in nearest[one.sentence] if each != one.passage][:NEAREST]
    ]


def _by_words(claims: Sequence[str], passages: Sequence[str]) -> dict[str, list[str]]:
    """Return all passages for each claim, the one with most of its words first."""
    return {
        claim: sorted(passages, key=lambda one: -compare(read(claim), read(one)).near)
        for claim in claims
    }


def _by_meaning(
    claims: Sequence[str], passages: Sequence[str], embedder: Embedder
) -> dict[str, list[str]]:
    """Return all passages for each claim, the one with the nearest sentence first."""
    parts = {one: [one[a:b].strip() for a, b in sentences(one)] for one in passages}
    texts = list(dict.fromkeys([*claims, *(part for some in parts.values() for part in some)]))
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))

    def distance(claim: str, passage: str) -> float:
        return -max(float(vectors[claim] @ vectors[part]) for part in parts[passage])

    return {claim: sorted(passages, key=lambda one: distance(claim, one)) for claim in claims}


def right(support: Support, pairs: Sequence[Labelled]) -> list[float]:
    """Return 1 for each pair that is judged as labelled, else 0."""
    judged = support.supported([one.claim for one in pairs])
    return [float(found.supported is one.supported)
            for found, one in zip(judged, pairs, strict=True)]  # fmt: skip


def table(support: Support, pairs: Sequence[Labelled], foreign: Sequence[Claim]) -> Iterator[str]:
    """Yield the lines of the report."""
    values = right(support, pairs)
    yield "| pairs | n | right | 95 % interval |"
    yield "|---|---|---|---|"
    rows = {"all": pairs, "supported": [one for one in pairs if one.supported],
            "not supported": [one for one in pairs if not one.supported],
            "near misses": [one for one in pairs if one.kind in NEAR_MISSES]}  # fmt: skip
    known = {one.id: value for one, value in zip(pairs, values, strict=True)}
    for name, some in rows.items():
        yield _row(name, estimate([known[one.id] for one in some], [one.group for one in some]),
                   len(some))  # fmt: skip
    kinds: dict[str, list[float]] = defaultdict(list)
    for one, value in zip(pairs, values, strict=True):
        kinds[f"{one.kind}, {'yes' if one.supported else 'no'}"].append(value)
    for name, some_values in sorted(kinds.items(), key=lambda item: -len(item[1])):
        yield f"| {name} | {len(some_values)} | {sum(some_values) / len(some_values):.0%} | |"
    refused = [not found.supported for found in support.supported(foreign)]
    yield f"| other subjects, no | {len(refused)} | {sum(refused) / len(refused):.1%} | |"


def _row(name: str, found: Estimate, count: int) -> str:
    low, high = max(found.low, 0.0), min(found.high, 1.0)
    return f"| **{name}** | {count} | {found.mean:.1%} | {low:.1%} to {high:.1%} |"


def thresholds(support: OverlapSupport, embedder: Embedder | None) -> Iterator[str]:
    """Yield what each threshold would do on the tune half."""
    pairs = read_pairs("tune")
    foreign = crossed(pairs, embedder)
    yield "| least overlap | right of the tune half | supported by other subjects |"
    yield "|---|---|---|"
    for step in STEPS:
        support.least = step
        values = right(support, pairs)
        wrong = [bool(found.supported) for found in support.supported(foreign)]
        yield f"| {step:.2f} | {sum(values) / len(values):.1%} | {sum(wrong) / len(wrong):.1%} |"


def main() -> None:
    """Measure one support test."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embedder", default="all-MiniLM-L6-v2")
    parser.add_argument("--words", action="store_true", help="without an embedder")
    parser.add_argument("--nli", type=Path, help="folder of a model in place of the overlap")
    parser.add_argument("--half", choices=("tune", "held_out"), default="held_out")
    parser.add_argument("--thresholds", action="store_true")
    asked = parser.parse_args()
    embedder = None if asked.words else open_embedder(EmbedderSpec(asked.embedder))
    overlap = OverlapSupport(embedder)
    if asked.thresholds:
        print("\n".join(thresholds(overlap, embedder)))
        return
    support: Support = overlap if asked.nli is None else NliSupport(asked.nli)
    pairs = read_pairs(asked.half)
    print(f"{support.name}, half {asked.half}\n")
    print("\n".join(table(support, pairs, crossed(pairs, embedder))))


if __name__ == "__main__":
    main()
