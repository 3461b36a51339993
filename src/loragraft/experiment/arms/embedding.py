"""Pairs of texts compared by a sentence embedder: the cosine of their vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loragraft.dataset.records import Embedding, TaskRecord
from loragraft.embedding.spec import EmbedderSpec
from loragraft.experiment.arms.direct import DirectArm
from loragraft.experiment.config import EmbedderArm, TaskKind

if TYPE_CHECKING:
    from loragraft.embedding.protocol import Embedder

THRESHOLD = "threshold"
"""In a sample's ``extra``: from which cosine on two texts count as alike, chosen on the validation
part of the split; absent where there is none."""

Note = Callable[[str], object]
Validation = Callable[[], Iterable[TaskRecord]]


class EmbeddingArm(DirectArm):
    """Records of the kind ``embedding``."""

    task: TaskKind = "embedding"

    def __init__(
        self,
        name: str,
        spec: EmbedderArm,
        validation: Validation | None = None,
        on_note: Note | None = None,
    ) -> None:
        """Name experiment and embedder; nothing is loaded yet.

        Args:
            name: The experiment's id.
            spec: The embedder.
            validation: Gives the records that the threshold is chosen on.
            on_note: Told what is read, and before anything is downloaded.
        """
        super().__init__(name)
        self._spec, self._validation, self._note = spec, validation, on_note

    @cached_property
    def _embedder(self) -> Embedder:
        from loragraft.embedding.opening import open_embedder

        return open_embedder(EmbedderSpec(self._spec.model, self._spec.adapter), self._note)

    def identity(self) -> dict[str, Any]:
        """Return what decides a sample: the embedder, and the pairs of the threshold."""
        from loragraft.dataset.records import to_json

        digest = hashlib.sha256()
        for pair in self._validating:
            digest.update(json.dumps(to_json(pair), sort_keys=True).encode() + b"\n")
        return {
            "task": self.task,
            "embedder": dict(self._embedder.identity),
            "validation": digest.hexdigest(),
        }

    def number(self, record: TaskRecord) -> tuple[float, Mapping[str, Any]]:
        """Return a pair's cosine."""
        assert isinstance(record, Embedding)
        extra = {} if self._threshold is None else {THRESHOLD: self._threshold}
        return self._cosine(record), extra

    def close(self) -> None:
        """Close the embedder."""
        if "_embedder" in self.__dict__:
            self._embedder.close()

    def _cosine(self, pair: Embedding) -> float:
        first, second = self._embedder.embed([pair.a, pair.b])
        return min(1.0, max(-1.0, float(first @ second)))

    @cached_property
    def _validating(self) -> list[Embedding]:
        given = () if self._validation is None else self._validation()
        return [record for record in given if isinstance(record, Embedding)]

    @cached_property
    def _threshold(self) -> float | None:
        from loragraft.experiment.metrics.ranking import choose_threshold, positives

        if not self._validating:
            return None
        cosines = [self._cosine(pair) for pair in self._validating]
        return choose_threshold(cosines, positives([pair.label for pair in self._validating]))
