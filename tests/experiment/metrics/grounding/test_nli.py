"""Support by a model of natural language inference, on one of two layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loragraft.errors import CheckpointError
from loragraft.experiment.metrics.grounding.nli import ENTAILED, NliSupport
from tests.support.encoders import build_encoder
from tests.support.shared import build_once

LABELS = {0: "CONTRADICTION", 1: "entailment", 2: "neutral"}
CLAIMS = [
    ("the cat is warm", "the cat is warm. the city is cold."),
    ("the star is bright", "the moon orbits the planet. the star is dim."),
    ("no ads", "buy now. cheap bread and cheap train."),
]


@pytest.fixture
def folder(shared_folder: Path) -> Path:
    """A pico encoder with the three labels of MNLI."""
    return build_once(
        shared_folder / "nli-bert",
        lambda where: build_encoder(
            "bert", where, "SequenceClassification", id2label=LABELS,
            label2id={name: number for number, name in LABELS.items()},
        ),
    )  # fmt: skip


def test_the_model_s_own_probability(folder: Path) -> None:
    """As transformers computes it, passage first; at least a half is support."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for (claim, passage), found in zip(CLAIMS, NliSupport(folder).supported(CLAIMS), strict=True):
        with torch.inference_mode():
            logits = model(**tokenizer(passage, claim, return_tensors="pt")).logits[0]
        assert found.scores["entailment"] == pytest.approx(float(logits.softmax(-1)[1]), abs=1e-6)
        assert found.supported is (found.scores["entailment"] >= ENTAILED)


def test_company_changes_nothing(folder: Path) -> None:
    """To the last digit."""
    support = NliSupport(folder)
    together = support.supported(CLAIMS)
    assert together == [support.supported([one])[0] for one in CLAIMS]
    assert together == support.supported(CLAIMS[::-1])[::-1]
    support.close()
    support.close()
    assert together == support.supported(CLAIMS)


def test_long_passages_are_read_in_windows(folder: Path) -> None:
    """What stands far behind the model's last token counts, and the best window decides."""
    support = NliSupport(folder)
    # One of sentences, then one without an end.
    long = "The moon orbits the planet. " * 60 + "the star is bright " * 60 + "the cat is warm."
    claim = "the cat is warm"
    (found,) = support.supported([(claim, long)])
    windows = list(support._windows(long, 100))
    assert len(windows) > 2
    assert " ".join(windows) == long
    assert 0 < found.scores["entailment"] < 1


def test_a_claim_without_end_is_cut(folder: Path) -> None:
    """The model reads what it can."""
    (found,) = NliSupport(folder).supported([("the cat is warm " * 400, "the cat is warm.")])
    assert found.supported in (True, False)


@pytest.mark.parametrize(("claim", "passage"), [("", "the cat"), (" ", "x"), ("the cat", "\n")])
def test_nothing_supports_nothing(folder: Path, claim: str, passage: str) -> None:
    """No model is asked."""
    (found,) = NliSupport(folder).supported([(claim, passage)])
    assert found.supported is False


def test_identity_is_the_files(folder: Path, tmp_path: Path) -> None:
    """The same files elsewhere are the same model; another weight is not."""
    import shutil

    copied = shutil.copytree(folder, tmp_path / "copied")
    told = NliSupport(folder).identity()
    assert NliSupport(copied).identity() == told
    assert str(folder) not in json.dumps(told)
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert NliSupport(copied).identity() != told


@pytest.mark.parametrize(
    "labels",
    [{}, {"0": "LABEL_0", "1": "LABEL_1"}, {"0": "not_entailment", "1": "non-entailment"},
     {"0": "entailment", "1": "entailment-too"}],
)  # fmt: skip
def test_a_folder_without_the_label_is_refused(tmp_path: Path, labels: dict[str, str]) -> None:
    """At once, and it says what the folder has."""
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels}))
    with pytest.raises(CheckpointError, match="must name one label entailment"):
        NliSupport(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """Nothing there, or no trained head."""
    with pytest.raises(CheckpointError, match="holds no model"):
        NliSupport(tmp_path)
    bare = build_encoder("bert", tmp_path / "bare", "", id2label=LABELS)
    with pytest.raises(CheckpointError, match="no trained head"):
        NliSupport(bare).supported(CLAIMS)
