"""How toxic a text is: by a score in the data, by a classifier on this disk, or by detoxify.

Nothing is downloaded without being asked for, and of a folder only safetensors are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from loragraft.dataset.curate.fields import read_number, read_texts
from loragraft.dataset.curate.judges import lacking
from loragraft.dataset.curate.rule import Drop, Row
from loragraft.errors import InputError


class Scorer(Protocol):
    """Scores texts."""

    def score_many(self, texts: Sequence[str]) -> list[float]:
        """Return each text's toxicity, 0 to 1."""


class ToxicityRule:
    """Drops rows whose texts are toxic."""

    def __init__(
        self,
        fields: Sequence[str],
        below: float,
        *,
        score_field: str | None = None,
        model: str = "original",
        checkpoint: Path | None = None,
        download: bool = False,
    ) -> None:
        """Take the rule; a model is loaded with the first text.

        Args:
            fields: Paths of texts; each must pass. Not needed with ``score_field``.
            below: Scores below it pass.
            score_field: Path of a score from 0 to 1 that stands in the data.
            model: Which of detoxify's.
            checkpoint: Folder of a classifier.
            download: Whether detoxify may download its model.

        Raises:
            InputError: If nothing says where scores come from, or the folder holds no classifier.
            MissingExtraError: If a package that the source needs is not installed.
        """
        self._fields, self._below = tuple(fields), below
        self._score_field = score_field
        self._scorer: Scorer | None = None
        if score_field is None:
            self._scorer = _scorer(model, checkpoint, download)

    def check_many(self, rows: Sequence[Row]) -> list[Drop | None]:
        """Judge rows; all their texts are scored together."""
        if self._scorer is None:
            return [self._check_score(row) for row in rows]
        texts = [self._texts(row) for row in rows]
        asked = [text for of_row in texts if not isinstance(of_row, Drop) for text in of_row]
        scores = iter(self._scorer.score_many(asked) if asked else [])
        found: list[Drop | None] = []
        for of_row in texts:
            if isinstance(of_row, Drop):
                found.append(of_row)
            else:
                found.append(self._judge(max(next(scores) for _ in of_row)))
        return found

    def _texts(self, row: Row) -> Sequence[str] | Drop:
        texts: list[str] = []
        for path in self._fields:
            own = read_texts(row.values, path)
            if own is None:
                return lacking(row.values, path, "text")
            texts += own
        return texts

    def _check_score(self, row: Row) -> Drop | None:
        path = self._score_field or ""
        score = read_number(row.values, path)
        if score is None or not 0 <= score <= 1:
            return lacking(row.values, path, "score from 0 to 1")
        return self._judge(score)

    def _judge(self, score: float) -> Drop | None:
        return Drop(f"toxicity {score:.2f}") if score >= self._below else None


def _scorer(model: str, checkpoint: Path | None, download: bool) -> Scorer:
    from loragraft.dataset.curate.classifier import Classifier, DetoxifyModel

    if checkpoint is not None:
        return Classifier(checkpoint)
    if not download:
        raise InputError(
            "The rule on toxicity names no source of scores, and nothing is downloaded unasked. "
            "Give checkpoint (a folder with a classifier such as unitary/toxic-bert), score_field "
            "(a score in the data), or download: true to let detoxify fetch its model."
        )
    return DetoxifyModel(model)
