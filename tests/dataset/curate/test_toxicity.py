"""Rows by how toxic their texts are."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.curate.classifier import Classifier
from loragraft.dataset.curate.rule import Drop, Row
from loragraft.dataset.curate.toxicity import ToxicityRule
from loragraft.errors import CheckpointError, InputError, MissingExtraError
from tests.support.shared import build_once
from tests.support.toxic import build_classifier, rename_labels

pytestmark = pytest.mark.slow  # torch and transformers are loaded, and a model is trained

KIND, VILE = "you are a kind person", "you are a vile person"


@pytest.fixture(scope="session")
def classifier(shared_folder: Path) -> Path:
    """Folder of a trained classifier; nobody writes into it."""
    return build_once(shared_folder / "classifier", build_classifier)


@pytest.fixture
def broken(classifier: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may break."""
    return Path(shutil.copytree(classifier, tmp_path / "broken"))


def _rows(*values: dict[str, Any]) -> list[Row]:
    return [Row(number, str(number), value) for number, value in enumerate(values, 1)]


def test_insults_go_and_the_score_is_told(
    classifier: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rule = ToxicityRule(["text"], 0.3, checkpoint=classifier)
    score = Classifier(classifier).score_many([VILE])[0]

    found = rule.check_many(_rows({"text": KIND}, {"text": VILE}, {"text": "what a lovely day"}))

    assert score > 0.8
    assert found == [None, Drop(f"toxicity {score:.2f}"), None]
    assert capfd.readouterr() == ("", "")


def test_each_text_of_each_field_must_pass(classifier: Path) -> None:
    rule = ToxicityRule(["post", "reply"], 0.3, checkpoint=classifier)
    rows = _rows(
        {"post": KIND, "reply": KIND},
        {"post": KIND, "reply": VILE},
        {"post": [KIND, VILE], "reply": KIND},
        {"post": KIND},
        {"post": KIND, "reply": 7},
    )

    found = rule.check_many(rows)

    assert [drop is not None for drop in found] == [False, True, True, True, True]
    assert found[3] == Drop("reply is missing", missing=True)
    assert found[4] is not None
    assert found[4].missing


def test_scores_do_not_depend_on_the_company(classifier: Path) -> None:
    model = Classifier(classifier)
    texts = [KIND, VILE, "stupid", "unknown words " * 200, "a", "\ud800", "day " * 7] * 12

    together = model.score_many(texts)

    assert together[:7] == pytest.approx([model.score_many([t])[0] for t in texts[:7]], abs=1e-6)
    assert together[7:14] == pytest.approx(together[:7], abs=1e-6)
    assert model.score_many([]) == []


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.29, None),
        (0, None),
        ("0.1", None),
        (0.3, Drop("toxicity 0.30")),
        (1, Drop("toxicity 1.00")),
        (None, Drop("meta.toxicity is missing", missing=True)),
    ],
)
def test_a_score_in_the_data_needs_no_model(score: Any, expected: Drop | None) -> None:  # noqa: ANN401
    rule = ToxicityRule([], 0.3, score_field="meta.toxicity")

    assert rule.check_many(_rows({"meta": {"toxicity": score}})) == [expected]


@pytest.mark.parametrize("score", [1.5, -0.1, 30, "high", [0.2], True])
def test_a_score_that_is_none_is_missing(score: Any) -> None:  # noqa: ANN401
    (drop,) = ToxicityRule([], 0.3, score_field="s").check_many(_rows({"s": score}))

    assert drop is not None
    assert drop.missing


def test_nothing_is_downloaded_unasked() -> None:
    with pytest.raises(InputError, match="nothing is downloaded unasked"):
        ToxicityRule(["text"], 0.3)


def test_detoxify_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detoxify", None)

    with pytest.raises(MissingExtraError, match=r"loragraft\[toxicity\]"):
        ToxicityRule(["text"], 0.3, download=True)
    with pytest.raises(InputError, match="there are original, unbiased"):
        ToxicityRule(["text"], 0.3, model="huge", download=True)


def test_a_label_that_is_not_the_first_is_found(broken: Path) -> None:
    rename_labels(broken, ("neutral", "Toxicity", "obscene"))

    assert Classifier(broken).score_many([KIND])[0] > 0.8  # the second output means "kind"


def test_of_two_labels_one_holds(tmp_path: Path) -> None:
    folder = build_classifier(tmp_path / "two", ("toxic", "neutral"))
    path = folder / "config.json"
    text = path.read_text(encoding="utf-8").replace("multi_label", "single_label")
    path.write_text(text, encoding="utf-8")
    two = Classifier(folder).score_many([KIND, VILE])
    rename_labels(folder, ("neutral", "toxic"))
    other = Classifier(folder).score_many([KIND, VILE])

    assert [a + b for a, b in zip(two, other, strict=True)] == pytest.approx([1.0, 1.0])


def test_a_classifier_without_a_label_for_toxicity_is_refused(broken: Path) -> None:
    rename_labels(broken, ("LABEL_0", "LABEL_1", "LABEL_2"))

    with pytest.raises(InputError, match="has the labels label_0, label_1, label_2"):
        Classifier(broken).score_many([KIND])


def test_a_model_that_was_never_trained_to_classify_is_refused(broken: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    kept = {name: array for name, array in weights.items() if not name.startswith("classifier")}
    save_file(kept, broken / "model.safetensors", {"format": "pt"})

    with pytest.raises(CheckpointError, match=r"classifier\.bias would be random|would be random"):
        Classifier(broken).score_many([KIND])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_truncated_file_is_named(broken: Path, name: str) -> None:
    path = broken / name
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(CheckpointError, match="cannot load the classifier"):
        Classifier(broken).score_many([KIND])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_without_a_classifier_is_refused(broken: Path, name: str) -> None:
    (broken / name).unlink()
    (broken / "pytorch_model.bin").write_bytes(b"pickled")

    with pytest.raises(InputError, match=f"has no {name}"):
        ToxicityRule(["text"], 0.3, checkpoint=broken)
    with pytest.raises(InputError, match="is no folder"):
        ToxicityRule(["text"], 0.3, checkpoint=broken / "config.json")


def test_code_in_a_folder_is_not_run(broken: Path) -> None:
    (broken / "evil.py").write_text("raise SystemExit(7)", encoding="utf-8")
    path = broken / "config.json"
    config = path.read_text(encoding="utf-8").rstrip().removesuffix("}")
    mapping = '"auto_map": {"AutoModelForSequenceClassification": "evil.Model"}'
    path.write_text(f"{config}, {mapping}}}", encoding="utf-8")

    assert Classifier(broken).score_many([VILE])[0] > 0.8


def test_scores_that_are_no_numbers_are_refused(broken: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] * float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})

    with pytest.raises(CheckpointError, match="scores that are no numbers"):
        Classifier(broken).score_many([KIND])
