"""The default support test: words and meaning overlap, and nothing speaks against the claim.

Offline and deterministic. A claim is supported if no check objects (:mod:`.checks`) and half of its
words' overlap plus half of its meaning's is at least :data:`SUPPORTED`. The checks are what tells
near misses apart; the overlap is what tells a claim from one about something else. How the
threshold was chosen and how often the test is right: docs/grounding.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from loragraft.experiment.metrics.grounding.checks import objection
from loragraft.experiment.metrics.grounding.pairing import Pair, compare
from loragraft.experiment.metrics.grounding.reading import read, sentences
from loragraft.experiment.metrics.grounding.support import Claim, Judgement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragraft.embedding.protocol import Embedder

VERSION = 2
"""Raised whenever the same claim and passage may get another judgement."""
SUPPORTED = 0.35
"""Least overlap of words and meaning: the least of the steps of 0.05 at which at most one of a
hundred sentences is supported by either of the two passages of other subjects that are nearest to
it, on the tune half of benchmarks/grounding/pairs.jsonl with all-MiniLM-L6-v2: on its first pairs,
and on those added later by themselves. Both together share subjects, and 3.7 of a hundred are."""
SUPPORTED_BY_WORDS = 0.35
"""The same of words alone, where there is no embedder; at most two of a hundred."""
LONGEST_CLAIM = 2_000
"""Characters of a claim that are read: a sentence has a tenth."""
DIGITS = 4
"""Of overlaps: what a batch's company changes in a vector lies far behind them."""
_KEPT = 50_000
"""Vectors kept: 75 MB of MiniLM's."""
_ANCHORS = (
    "The train to the coast leaves at seven in the morning.",
    "Granite forms when magma cools slowly below the surface.",
    "She sold her share of the bakery to her brother.",
    "The function returns a list of open files.",
    "Potatoes should be stored in a dark and dry place.",
    "The court dismissed the appeal without a hearing.",
    "Penguins raise their chicks on the ice.",
    "The second movement is slower than the first.",
    "Antibiotics do not work against viruses.",
    "The bridge carries two lanes in each direction.",
    "Voters rejected the proposal by a narrow margin.",
    "The moon has no atmosphere to speak of.",
)
"""Sentences that have nothing to do with each other: their mean cosine is what an embedder gives
for nothing, near 0 with some and 0.7 with others."""


class OverlapSupport:
    """Judges by words, numbers, names, negations and, where there is an embedder, meaning.

    Attributes:
        least: Overlap from which on a claim is supported.
    """

    name = "overlap"

    def __init__(self, embedder: Embedder | None = None, *, least: float | None = None) -> None:
        """Use an embedder, which stays its owner's to close; without one, words alone count.

        Args:
            embedder: Of meaning.
            least: Another threshold than the one that was calibrated.
        """
        self._embedder = embedder
        calibrated = SUPPORTED_BY_WORDS if embedder is None else SUPPORTED
        self.least = calibrated if least is None else least
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._nothing: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return what decides a judgement."""
        embedder = None if self._embedder is None else dict(self._embedder.identity)
        return {"support": self.name, "version": VERSION, "least": self.least, "embedder": embedder}

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Judge claims, each by itself."""
        pairs = [_pair(*claim) for claim in claims]
        objections = [objection(pair) if pair.claim.content else None for pair in pairs]
        unsure = [
            at for at, said in enumerate(objections) if said is None and self._unsure(pairs[at])
        ]
        self._embed(text for at in unsure for text in _texts(*claims[at]))
        return [
            self._judge(claim, pair, said)
            for claim, pair, said in zip(claims, pairs, objections, strict=True)
        ]

    def close(self) -> None:
        """Forget the vectors."""
        self._vectors.clear()

    def _judge(self, claim: Claim, pair: Pair, said: str | None) -> Judgement:
        words = round(pair.near, DIGITS)
        if not _whole(pair):
            return Judgement(False, "nothing to compare")
        if said is not None:
            return Judgement(False, said, {"words": words})
        if self._embedder is None:
            return _by_overlap(words, self.least, {"words": words})
        if not self._unsure(pair):
            return Judgement(
                True, f"half of the words' overlap {words:.2f} is enough", {"words": words}
            )
        meaning = self._meaning(*claim)
        scores = {"words": words, "meaning": meaning}
        return _by_overlap(round((pair.near + meaning) / 2, DIGITS), self.least, scores)

    def _unsure(self, pair: Pair) -> bool:
        """Whether the words alone decide nothing, so that the meaning is needed."""
        return _whole(pair) and round(pair.near / 2, DIGITS) < self.least

    def _meaning(self, claim: str, passage: str) -> float:
        """Return the greatest cosine with a sentence, as a share of what is above nothing."""
        own, *others = [self._vectors[text] for text in _texts(claim, passage)]
        cosine = max(float(own @ other) for other in others)
        nothing = self._cosine_of_nothing()
        return round(min(max((cosine - nothing) / (1 - nothing), 0.0), 1.0), DIGITS)

    def _cosine_of_nothing(self) -> float:
        if self._nothing is None:
            assert self._embedder is not None
            vectors = self._embedder.embed(_ANCHORS)
            cosines = [float(one @ other) for at, one in enumerate(vectors)
                       for other in vectors[:at]]  # fmt: skip
            self._nothing = min(max(sum(cosines) / len(cosines), 0.0), 0.99)
        return self._nothing

    def _embed(self, texts: Iterable[str]) -> None:
        if self._embedder is None:
            return
        wanted = dict.fromkeys(texts)
        if len(self._vectors) > _KEPT:
            self._vectors.clear()
        fresh = [text for text in wanted if text not in self._vectors]
        if fresh:
            vectors = self._embedder.embed(fresh)
            self._vectors.update(zip(fresh, vectors, strict=True))


def _pair(claim: str, passage: str) -> Pair:
    return compare(read(claim, LONGEST_CLAIM), read(passage))


def _whole(pair: Pair) -> bool:
    """Whether there is anything to compare; a claim of function words alone says nothing."""
    return bool(pair.claim.content and pair.passage.words)


def _texts(claim: str, passage: str) -> list[str]:
    """Return the texts whose vectors are compared: the claim, and the passage's sentences."""
    passage = read(passage).text
    return [claim[:LONGEST_CLAIM], *(passage[a:b].strip() for a, b in sentences(passage))]


def _by_overlap(overlap: float, least: float, scores: dict[str, float]) -> Judgement:
    enough = overlap >= least
    reason = f"overlap {overlap:.2f}, {'at least' if enough else 'below'} {least}"
    return Judgement(enough, reason, {**scores, "overlap": overlap})
