"""Classifiers as comparators: with a head of their own, or an adapter trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.adapter.peft_loading import quiet
from loragraft.dataset.records import Score
from loragraft.errors import CheckpointError, InputError
from loragraft.experiment.arms.classifier import ClassifierArm
from loragraft.experiment.config import ClassifierSpec
from loragraft.training.classifier import Classifier, load_classifier, load_scorer
from tests.support.answering import ask
from tests.support.encoders import build_encoder
from tests.support.shared import build_once

pytestmark = pytest.mark.slow  # importing transformers takes most of it
TEXTS = [
    Score("a", "rule", {"rule": "no ads", "body": "buy now cheap"}, 1.0),
    Score("b", "rule", {"rule": "no ads", "body": "nice cat and dog " * 9}, 0.0),
    Score("c", "rule", {"rule": "no ads", "body": "thanks"}, 0.0),
]


@pytest.fixture(scope="session")
def headed(shared_folder: Path) -> Callable[[str, int], Path]:
    """Build an encoder with a head of so many labels."""

    def build(kind: str, labels: int) -> Path:
        folder = shared_folder / "headed" / f"{kind}-{labels}"
        return build_once(
            folder,
            lambda part: build_encoder(kind, part, "SequenceClassification", num_labels=labels),
        )

    return build


def classifier(folder: Path) -> ClassifierArm:
    """Return an arm of a checkpoint with its own head."""
    return ClassifierArm("comparator", ClassifierSpec(kind="classifier", model=str(folder)))


@pytest.mark.parametrize("labels", [1, 2])
def test_a_classifiers_own_head_scores_as_transformers_does(
    headed: Callable[[str, int], Path], labels: int
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = headed("deberta", labels)
    arm = classifier(folder)
    samples = ask(arm, TEXTS)
    arm.close()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for record, sample in zip(TEXTS, samples, strict=True):
        texts = [f"Rule: {record.fields['rule']}", f"Body: {record.fields['body']}"]
        with torch.no_grad():
            logits = model(**tokenizer(*texts, return_tensors="pt")).logits[0]
        expected = logits.sigmoid()[0] if labels == 1 else logits.softmax(-1)[1]
        assert sample.parsed == pytest.approx(float(expected), abs=1e-5)
        assert (sample.status, sample.messages, sample.seed is not None) == ("ok", (), True)
    assert len({sample.parsed for sample in samples}) == 3


def test_a_score_does_not_depend_on_its_company(headed: Callable[[str, int], Path]) -> None:
    arm = classifier(headed("deberta", 1))
    together = {one.question_id: one.parsed for one in ask(arm, TEXTS)}
    backwards = {one.question_id: one.parsed for one in ask(arm, TEXTS[::-1])}
    alone = {record.id: ask(arm, [record])[0].parsed for record in TEXTS}
    assert together == backwards == alone


def test_a_checkpoint_without_a_head_or_with_other_labels_is_refused(
    headed: Callable[[str, int], Path], shared_folder: Path
) -> None:
    with pytest.raises(CheckpointError, match="tells 3 labels apart"):
        ask(classifier(headed("deberta", 3)), TEXTS)
    bare = build_once(shared_folder / "headed" / "masked", lambda p: build_encoder("deberta", p))
    with pytest.raises(CheckpointError, match="not trained as a classifier"):
        ask(classifier(bare), TEXTS)


def test_a_classifiers_identity_is_its_files(
    headed: Callable[[str, int], Path], tmp_path: Path
) -> None:
    one, two = (classifier(headed("deberta", labels)).identity() for labels in (1, 2))
    assert one != two
    with pytest.raises(InputError, match="does not exist"):
        classifier(tmp_path / "none").identity()


def test_a_number_that_is_none_is_an_error_of_its_record(
    headed: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Classifier.scores

    def broken(self: Classifier, texts: Any, batch: int = 1) -> Any:  # noqa: ANN401
        good = plain(self, texts, batch)
        return good * np.nan if "thanks" in texts[0]["body"] else good

    monkeypatch.setattr(Classifier, "scores", broken)
    samples = ask(classifier(headed("deberta", 1)), TEXTS)
    assert [one.status for one in samples] == ["ok", "ok", "error"]
    assert samples[2].parsed is None


def test_a_classifier_trained_here_scores_with_its_adapter_and_head(
    shared_folder: Path, headed: Callable[[str, int], Path], tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    base = build_once(shared_folder / "headed" / "masked", lambda p: build_encoder("deberta", p))
    with quiet():
        model, heads = load_scorer(base)
        settings = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query_proj"],
                              modules_to_save=list(heads))  # fmt: skip
        trained: Any = get_peft_model(model, settings)
        with torch.no_grad():
            for name, parameter in trained.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
        trained.save_pretrained(tmp_path)
    spec = ClassifierSpec(kind="classifier", model=str(base), adapter=str(tmp_path))
    arm = ClassifierArm("comparator", spec)
    scores = load_classifier(base, tmp_path).scores([record.fields for record in TEXTS])
    assert [one.parsed for one in ask(arm, TEXTS)] == pytest.approx(scores.tolist(), abs=1e-6)
    assert arm.identity()["adapter"] != classifier(headed("deberta", 1)).identity().get("adapter")
