"""All metrics of an experiment together: registry, aggregates, perplexity, speed, distribution."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.records import Embedding, Score, TaskRecord
from loragraft.engine.batch.protocol import Load
from loragraft.experiment.config import MetricsConfig, TaskKind
from loragraft.experiment.metrics.aggregate import Aggregate, aggregates
from loragraft.experiment.metrics.distribution import distribution_of
from loragraft.experiment.metrics.registry import (
    MetricContext,
    compute,
    identity,
    metrics_for,
    not_applicable,
)
from loragraft.experiment.metrics.speed import percentile
from loragraft.experiment.records import Sample
from tests.support.answers import asked, found, sample, shown

ALL = MetricsConfig(groups=("sanity", "factuality", "grounding", "retrieval", "perplexity"))
PLAIN = MetricsConfig(groups=("sanity", "factuality", "perplexity"))


def named(found: list[Aggregate]) -> dict[str, Aggregate]:
    return {one.info.name: one for one in found}


def scored(values: list[float | None]) -> tuple[list[Sample], dict[str, TaskRecord]]:
    samples = [
        sample("", f"q{n}", parsed=value, status="ok" if value is not None else "parse_error")
        for n, value in enumerate(values)
    ]
    labels = [n % 2 for n in range(len(values))]
    records: dict[str, TaskRecord] = {
        f"q{n}": Score(f"q{n}", "rule", {"body": "x"}, label) for n, label in enumerate(labels)
    }
    return samples, records


def test_every_sample_gets_every_name_once() -> None:
    samples = [sample("eel"), sample("", "q2", status="error", error="it died"), sample("x", "q9")]
    records = {"q1": asked("eel"), "q2": asked("eel", id="q2")}
    metrics = metrics_for(PLAIN, "qa", MetricContext(probabilities=True))
    scores = list(compute(metrics, samples, records))
    names = {info.name for metric in metrics for info in metric.infos}
    assert len(scores) == len(samples) * len(names)
    assert len({(one.question_id, one.metric) for one in scores}) == len(scores)
    by = {(one.question_id, one.metric): one for one in scores}
    assert by["q1", "factuality"].value == 1.0
    assert {by["q2", name].status for name in names} == {"error"}
    assert {by["q9", name].status for name in names} == {"unscorable"}
    assert by["q2", "factuality"].detail == {"reason": "it died"}
    assert json.dumps(identity(metrics))


def test_what_an_arm_cannot_have_is_not_applicable() -> None:
    closed = {one.info.name: one.reason for one in not_applicable(ALL, "qa", MetricContext())}
    assert "grounding_coverage" in closed
    assert "recall@5" in closed
    assert "reference_nats" in closed
    assert "factuality" not in closed
    stuffed = MetricContext(stuffed=True, probabilities=True)
    names = {one.info.name for one in not_applicable(ALL, "qa", stuffed)}
    assert "recall@5" in names
    assert "grounding_coverage" not in names
    whole = MetricContext(retrieval=True, probabilities=True)
    assert not_applicable(ALL, "qa", whole) == []


@pytest.mark.parametrize("kind", ["qa", "score", "reply", "embedding"])
def test_every_info_says_what_it_is(kind: TaskKind) -> None:
    context = MetricContext(retrieval=True, probabilities=True)
    infos = [info for one in metrics_for(ALL, kind, context) for info in one.infos]
    assert len({info.name for info in infos}) == len(infos)
    assert all(info.unit and info.source for info in infos)


def test_listing_metrics_imports_nothing_heavy() -> None:
    code = (
        "import sys; from loragraft.experiment.metrics.registry import *; "
        "from loragraft.experiment.config import MetricsConfig as C; "
        "c = C(groups=('sanity','factuality','grounding','retrieval','perplexity'),"
        "factuality='judge'); "
        "[metrics_for(c, k, MetricContext(retrieval=True)) for k in ('qa','score','reply')]; "
        "bad = {'torch','transformers','rouge_score','sacrebleu','nltk','llama_cpp','httpx',"
        "'scipy','sklearn','faiss'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_aggregates_of_scores_by_hand() -> None:
    samples, records = scored([0.1, 0.9, 0.2, 0.4, None, math.nan])
    found = named(aggregates("score", samples, records, load=Load(10, 0, 20, 4.0, 1024)))
    assert found["roc_auc"].value == 1.0
    assert (found["roc_auc"].count, found["roc_auc"].of) == (4, 6)
    assert found["accuracy"].value == 0.75
    assert found["accuracy"].detail["false_negatives"] == 1
    assert found["spearman"].value == pytest.approx(2 / math.sqrt(5))
    assert found["distribution"].value == pytest.approx(0.4)
    assert found["throughput"].value == 5.0
    assert found["peak_memory"].value == 1024.0
    assert json.dumps([one.to_json() for one in found.values()], allow_nan=False)


def test_aggregates_of_nothing_have_reasons() -> None:
    for kind in ("score", "embedding", "qa", "reply"):
        for one in aggregates(kind, [], {}, load=Load()):
            assert one.value is None
            assert one.reason


def test_embeddings_decide_only_by_a_threshold_that_was_given() -> None:
    samples = [sample("", f"q{n}", parsed=n / 4) for n in range(4)]
    records = {f"q{n}": Embedding(f"q{n}", "pair", "a", "b", float(n > 1)) for n in range(4)}
    assert "accuracy" not in named(aggregates("embedding", samples, records))
    found = named(aggregates("embedding", samples, records, threshold=0.4))
    assert found["accuracy"].value == 1.0
    assert found["spearman"].count == 4


def test_perplexity_by_hand() -> None:
    # Two references: 3 tokens of 1/2 each, 1 token of 1/16: 2^(7/4) over four tokens.
    logs = [(3 * math.log(0.5), 3), (math.log(1 / 16), 1)]
    samples = [
        sample("x", f"q{n}", extra={"reference_log_prob": total, "reference_tokens": count})
        for n, (total, count) in enumerate(logs)
    ]
    samples += [
        sample("x", "q2", extra={"reference_log_prob": -math.inf, "reference_tokens": 2}),
        sample("x", "q3", extra={"reference_log_prob": "1", "reference_tokens": 0}),
    ]
    records = {f"q{n}": asked("eel", id=f"q{n}") for n in range(4)}
    (metric,) = metrics_for(MetricsConfig(groups=("perplexity",)), "qa",
                            MetricContext(probabilities=True))[:1]  # fmt: skip
    values = [one.value for one in metric.scores(samples, records)]
    assert values[:2] == pytest.approx([math.log(2), math.log(16)])
    assert values[2:] == [None, None]
    found = named(aggregates("qa", samples, records, sanity=False))
    assert found["perplexity"].value == pytest.approx(2 ** (7 / 4))
    assert found["perplexity"].count == 2


def test_speed_by_hand() -> None:
    metric = metrics_for(MetricsConfig(groups=()), "qa", MetricContext())[-1]
    one = sample("x", tokens=11, first_seconds=0.5, seconds=2.0)
    values = {score.metric: score.value for score in metric.scores([one], {"q1": asked("x")})}
    assert values == {"first_token_seconds": 0.5, "seconds_per_token": 0.2,
                      "tokens_per_second": 5.0, "answer_tokens": 11.0}  # fmt: skip
    short = sample("x", tokens=1, seconds=0.0)
    states = {score.metric: score.status for score in metric.scores([short], {"q1": asked("x")})}
    assert states["tokens_per_second"] == "unscorable"
    assert states["answer_tokens"] == "ok"
    assert percentile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert percentile([], 0.5) is None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30))
def test_distributions_hold_for_any_numbers(values: list[float]) -> None:
    told = distribution_of(values)
    finite = [value for value in values if math.isfinite(value)]
    assert told.count == len(values)
    assert told.finite == len(finite) == sum(told.bins)
    assert json.dumps(told.to_json(), allow_nan=False)
    if finite:
        assert told.mean is not None
        assert told.min == min(finite) <= told.mean <= max(finite) == told.max


@settings(max_examples=25)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_distributions_agree_with_numpy(values: list[float]) -> None:
    import numpy as np

    told = distribution_of(values, low=-1e6, high=1e6)
    assert told.mean == pytest.approx(np.mean(values), abs=1e-6)
    assert told.std == pytest.approx(np.std(values), rel=1e-6, abs=1e-6)
    assert list(told.edges) == pytest.approx(np.histogram_bin_edges([], 10, (-1e6, 1e6)).tolist())


CITES = st.lists(
    st.fixed_dictionaries({"label": st.sampled_from(["P1", "P9"]), "start": st.integers(-2, 40),
                           "stop": st.integers(-2, 60), "known": st.booleans()}),
    max_size=3,
)  # fmt: skip


@settings(max_examples=30)
@given(st.text(max_size=60), CITES, st.sampled_from(["a#0-9", "a", "b#5-6"]))
def test_any_answer_gets_finite_scores(
    answer: str, cites: list[dict[str, object]], evidence: str
) -> None:
    passage = shown("P1", "a", 0, 20, "An eel of 900 g.")
    one = sample(answer, citations=tuple(cites), retrieved=(found("a", 0, 20),), shown=(passage,))
    records = {"q1": asked("eel", "900 g", evidence=(evidence,))}
    config = MetricsConfig(groups=("sanity", "factuality", "retrieval"))
    for score in compute(metrics_for(config, "qa", MetricContext(retrieval=True)), [one], records):
        assert (score.status == "ok") == (score.value is not None)
        assert score.value is None or math.isfinite(score.value)
        assert json.dumps([score.value, dict(score.detail)], allow_nan=False)
