"""Numbers without a language model: embedders, averages; and which arm is opened for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.dataset.records import Embedding, Score
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError
from loragraft.experiment.arms.average import AverageArm
from loragraft.experiment.arms.embedding import EmbeddingArm
from loragraft.experiment.arms.opening import Shared, open_arm
from loragraft.experiment.arms.protocol import Question
from loragraft.experiment.config import DataConfig, EmbedderArm, SeriesConfig
from loragraft.experiment.records import Sample
from tests.support.answering import ask, write_records_split

PAIRS = [Embedding("p1", "pair", "river stone", "stone river", 1.0),
         Embedding("p2", "pair", "river stone", "violin poem", 0.0)]  # fmt: skip
TEXTS = [Score(name, "rule", {"body": "buy now"}, 1.0) for name in "abc"]


def embedder(folder: Path, validation: list[Embedding] | None = None) -> EmbeddingArm:
    """Return an arm of a static embedder."""
    spec = EmbedderArm(kind="embedder", model=str(folder))
    return EmbeddingArm("pairs", spec, None if validation is None else lambda: validation)


def test_pairs_get_their_cosine(static_folder: Path, static: StaticEmbedder) -> None:
    arm = embedder(static_folder)
    samples = ask(arm, PAIRS)
    arm.close()
    for pair, sample in zip(PAIRS, samples, strict=True):
        first, second = static.embed([pair.a, pair.b]).astype(np.float64)
        assert sample.parsed == pytest.approx(float(first @ second), abs=1e-6)
        assert -1 <= (sample.parsed or 0) <= 1
        assert sample.extra == {}


def test_a_threshold_is_chosen_on_the_validation_part(static_folder: Path) -> None:
    words = ("river", "stone", "cloud", "winter", "garden", "lamp")
    alike = [Embedding(f"v{n}", "pair", f"{w} 1", f"1 {w}", 1.0) for n, w in enumerate(words)]
    unlike = [Embedding(f"w{n}", "pair", w, "violin 7", 0.0) for n, w in enumerate(words)]
    arm = embedder(static_folder, [*alike, *unlike])
    samples = ask(arm, PAIRS)
    thresholds = {one.extra["threshold"] for one in samples}
    assert len(thresholds) == 1
    threshold = thresholds.pop()
    assert [(one.parsed or 0) >= threshold for one in samples] == [True, False]
    assert arm.identity() != embedder(static_folder, alike).identity()
    assert arm.identity() == embedder(static_folder, [*alike, *unlike]).identity()


def number(part: str, name: str, value: float | None, repeat: int = 0) -> Sample:
    """Return a sample of a part."""
    status, error = ("ok", "") if value is not None else ("parse_error", "No number.")
    return Sample(part, name, repeat, "t", None, 1, (), status, parsed=value, error=error)  # type: ignore[arg-type]


def test_an_average_is_the_mean_of_its_parts_and_never_of_some_of_them() -> None:
    parts = {
        "one": [number("one", "a", 0.2), number("one", "b", 0.4), number("one", "c", 0.5)],
        "two": [number("two", "a", 0.1), number("two", "a", 0.3, 1), number("two", "a", None, 2),
                number("two", "b", None)],
    }  # fmt: skip
    arm = AverageArm("mean", "score", ("one", "two"), lambda name: parts[name])
    samples = ask(arm, TEXTS)
    assert samples[0].parsed == pytest.approx(0.2)
    assert samples[0].extra == {"parts": {"one": 0.2, "two": pytest.approx(0.2)}}
    assert [one.status for one in samples] == ["ok", "parse_error", "unscorable"]
    assert "two has no number for this question: No number." in samples[1].error
    assert "two has no answer to this question" in samples[2].error
    assert (arm.parts, arm.asks, arm.repeats) == (("one", "two"), False, 1)


def test_answers_in_words_have_no_average() -> None:
    with pytest.raises(InputError, match="averages experiments of the task qa"):
        AverageArm("mean", "qa", ("one", "two"), lambda _: ())


def config(**experiments: Any) -> SeriesConfig:  # noqa: ANN401
    """Return a series."""
    return SeriesConfig.model_validate({
        "series": "s", "baseline": next(iter(experiments)), "data": {"files": ["x.jsonl"]},
        "experiments": experiments,
    })  # fmt: skip


LLAMA = {"kind": "llama", "model": "m"}


@pytest.mark.parametrize(("experiment", "words"), [
    ({"task": "qa", "engine": {"kind": "classifier", "model": "m"}}, "kind score"),
    ({"task": "score", "engine": {"kind": "embedder", "model": "m"},
      "scoring": {"template": "x"}}, "kind embedding"),
    ({"task": "embedding", "engine": LLAMA}, "by an embedder"),
    ({"task": "reply", "engine": LLAMA, "stuffed": True}, "passages are for the task qa"),
    ({"task": "qa", "engine": LLAMA, "stuffed": True}, "names no index"),
])  # fmt: skip
def test_tasks_and_engines_that_do_not_go_together_are_refused(
    experiment: dict[str, Any], words: str
) -> None:
    series = config(x=experiment)
    with Shared(series) as shared, pytest.raises(InputError, match=words):
        open_arm(series, "x", shared)


def test_each_task_gets_its_arm(static_folder: Path, tmp_path: Path) -> None:
    write_records_split(tmp_path, "pairs", [
        {"kind": "embedding", "id": f"p{n}", "task_type": f"pair{n % 2}", "a": f"river {n}",
         "b": (f"{n} river", "violin")[n % 2], "label": 1 - n % 2}
        for n in range(40)
    ])  # fmt: skip
    series = config(
        qa={"engine": LLAMA}, reply={"task": "reply", "engine": LLAMA},
        score={"task": "score", "engine": LLAMA, "scoring": {"template": "{body}"}},
        pairs={"task": "embedding", "engine": {"kind": "embedder", "model": str(static_folder)}},
        mean={"task": "score", "average": ["score", "score"]},
    )  # fmt: skip
    data = DataConfig(tag="pairs", splits=tmp_path)
    series = series.model_copy(update={"data": data})
    with Shared(series) as shared:
        arms = {name: open_arm(series, name, shared) for name in series.experiments}
        assert [arm.task for arm in arms.values()] == ["qa", "reply", "score", "embedding", "score"]
        assert [arm.asks for arm in arms.values()] == [True, True, True, False, False]
        assert all(arm.name == name for name, arm in arms.items())
        assert arms["pairs"].prepare(PAIRS[0], None) == Question(PAIRS[0])
        assert arms["pairs"].context_needed(PAIRS) is None
        assert "threshold" in ask(arms["pairs"], PAIRS)[0].extra
        for arm in arms.values():
            arm.close()
            arm.close()
