"""Classifiers: what they learn, what is saved, and that it loads back as it was."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.adapter.peft_loading import quiet
from loragraft.artifact.progress import Silent
from loragraft.errors import AdapterError, CheckFailedError, CheckpointError, InputError
from loragraft.training.classifier import load_classifier
from loragraft.training.config import TrainConfig
from loragraft.training.job import Job
from loragraft.training.run import train
from loragraft.training.sequence_classification import build_sequence_classification
from tests.support.encoders import build_encoder
from tests.support.shared import build_once

pytestmark = pytest.mark.usefixtures("one_thread")
SEED = 20251101
GOOD, BAD = ("thanks", "good", "point", "nice"), ("buy", "now", "cheap", "sale")


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Let torch use one thread: small models wait for each other's."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder(shared_folder: Path) -> Callable[..., Path]:
    """Build an encoder, once a session."""

    def build(kind: str, head: str = "MaskedLM") -> Path:
        folder = shared_folder / "encoders" / f"{kind}-{head or 'bare'}"
        options = {"num_labels": 3} if head == "SequenceClassification" else {}
        return build_once(folder, lambda part: build_encoder(kind, part, head, **options))

    return build


def records(count: int, seed: int = SEED) -> list[dict[str, Any]]:
    """Return posts, every second of which is an advertisement."""
    chance = random.Random(seed)
    bodies = [" ".join(chance.choices((GOOD, BAD)[number % 2], k=5)) for number in range(count)]
    return [
        {"kind": "score", "id": f"r{seed}-{number}", "task_type": "rules",
         "fields": {"rule": "no ads", "body": body}, "label": (0.1, 0.9)[number % 2]}
        for number, body in enumerate(bodies)
    ]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes a configuration; keywords are its parts."""

    def make(base: Path, rows: list[dict[str, Any]] | None = None, **parts: Any) -> TrainConfig:  # noqa: ANN401
        data = {"train": [str(write(tmp_path / "train.jsonl", rows or records(32)))],
                "validation": str(write(tmp_path / "val.jsonl", records(16, 1)))}  # fmt: skip
        values: dict[str, Any] = {
            "experiment_id": "comparator", "task": "sequence-classification", "base": str(base),
            "data": data, "reporters": [],
            "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all"},
            "optimiser": {"learning_rate": 1e-2, "epochs": 8, "batch": 8, "accumulation": 1},
            "evaluation": {"patience": 0, "samples": 1, "every": 16},
        }  # fmt: skip
        return TrainConfig.model_validate({**values, **parts})

    return make


def trained_names(job: Job) -> set[str]:
    return {name for name, weight in job.model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(
    ("kind", "head", "whole"),
    [("bert", "MaskedLM", {"classifier", "pooler"}), ("bert", "", {"classifier"}),
     ("bert", "SequenceClassification", {"classifier"}), ("deberta", "", {"classifier", "pooler"}),
     ("modernbert", "MaskedLM", {"classifier", "head"}), ("roberta", "", {"classifier"})],
)  # fmt: skip
def test_the_adapter_and_the_head_are_trained_and_nothing_else(
    encoder: Callable[..., Path],
    config: Callable[..., TrainConfig],
    kind: str,
    head: str,
    whole: set[str],
) -> None:
    base = encoder(kind, head)
    job = build_sequence_classification(config(base), base, Silent())
    assert set(job.facts["head"]) == whole
    for name in trained_names(job):
        inside = name.split(".modules_to_save.")[0].rpartition(".")[2] in whole
        assert inside or ".lora_" in name
    assert any(".lora_" in name for name in trained_names(job))
    assert job.facts["train"]["positive"] == 16


def test_the_loss_is_the_cross_entropy_and_padding_changes_nothing(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig]
) -> None:
    import torch

    rows = records(8)
    for number, row in enumerate(rows):
        row["fields"]["body"] += " good" * number
        row["label"] = number / 10
    base = encoder("deberta", "")
    job = build_sequence_classification(config(base, rows), base, Silent())
    job.model.eval()
    with torch.no_grad():
        whole = float(job.loss(job.model, job.collate(job.train)))
        apart = sum(float(job.loss(job.model, job.collate([one]))) for one in job.train)
        logits = [job.model(torch.tensor([one.ids])).logits[0, 0] for one in job.train]
    chances = torch.stack(logits).sigmoid().double()
    labels = torch.tensor([one.label for one in job.train], dtype=torch.float64)
    wanted = -(labels * chances.log() + (1 - labels) * (1 - chances).log()).sum()
    assert whole == pytest.approx(apart, abs=1e-5)
    assert whole == pytest.approx(float(wanted), abs=1e-5)
    batch = job.collate(job.train)
    assert job.count(batch) == 8
    assert job.tokens(batch) == sum(len(one.ids) for one in job.train)


@pytest.fixture(scope="module")
def finished(
    shared_folder: Path, encoder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Any:  # noqa: ANN401
    """Return the outcome of a whole run, and its base."""
    folder = tmp_path_factory.mktemp("run")
    base = encoder("bert", "MaskedLM")
    values = {
        "experiment_id": "comparator", "task": "sequence-classification", "base": str(base),
        "data": {"train": [str(write(folder / "train.jsonl", records(32)))],
                 "validation": str(write(folder / "val.jsonl", records(16, 1)))},
        "reporters": [], "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all"},
        "optimiser": {"learning_rate": 2e-2, "epochs": 8, "batch": 8, "accumulation": 1,
                      "max_length": 64},
        "evaluation": {"patience": 0, "samples": 1, "every": 16},
    }  # fmt: skip
    return train(TrainConfig.model_validate(values), folder / "adapters"), base


def test_what_is_trained_in_bfloat16_is_proven_in_float32(
    config: Callable[..., TrainConfig], encoder: Callable[..., Path], tmp_path: Path
) -> None:
    done = train(config(encoder("bert"), precision="bfloat16"), tmp_path / "adapters")
    assert done.metadata["hyper_parameters"]["precision"] == "bfloat16"
    assert (done.folder / "adapter_model.safetensors").is_file()


def test_a_run_learns_to_tell_the_classes_apart(finished: Any) -> None:  # noqa: ANN401
    outcome, _ = finished
    first, last = outcome.log.evaluations[0], outcome.log.evaluations[-1]
    assert last.metrics["roc_auc"] > 0.95
    assert last.metrics["accuracy"] > 0.9
    assert last.loss < first.loss - 0.2  # the labels' own entropy is 0.325
    assert last.samples[0].expected in ("0.1", "0.9")
    verdict = outcome.metadata["verification"]
    assert verdict["verdict"] == "pass"
    assert {one["severity"] for one in verdict["findings"]} == {"pass"}


def test_a_trained_classifier_scores_as_peft_loads_it(finished: Any) -> None:  # noqa: ANN401
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    outcome, base = finished
    asked: list[Mapping[str, Any]] = [row["fields"] for row in records(10, 2)]
    scores = load_classifier(base, outcome.folder).scores(asked, batch=3)
    assert scores.dtype == np.float32
    assert (scores[1::2] > 0.5).all()
    assert (scores[::2] < 0.5).all()
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        model = PeftModel.from_pretrained(model, outcome.folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(base)
        texts = [f"Rule: no ads [SEP] Body: {one['body']}" for one in asked]
        with torch.no_grad():
            theirs = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    assert np.abs(torch.cat(theirs)[:, 0].sigmoid().numpy() - scores).max() < 1e-6


def test_the_longest_record_is_that_of_the_training(finished: Any) -> None:  # noqa: ANN401
    outcome, base = finished
    long = {"rule": "no ads", "body": "good " * 300}
    own = load_classifier(base, outcome.folder).scores([long])
    assert own == load_classifier(base, outcome.folder, longest=64).scores([long])
    assert own != load_classifier(base, outcome.folder, longest=20).scores([long])


def test_an_adapter_without_a_head_is_refused(finished: Any, tmp_path: Path) -> None:  # noqa: ANN401
    outcome, base = finished
    other = shutil.copytree(outcome.folder, tmp_path / "other")
    settings = json.loads((other / "adapter_config.json").read_text())
    settings["modules_to_save"] = None
    settings["task_type"] = "FEATURE_EXTRACTION"
    (other / "adapter_config.json").write_text(json.dumps(settings))
    weights = other / "adapter_model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if "lora_" in name}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match="no classifier's adapter"):
        load_classifier(base, other)


def test_what_loads_back_otherwise_is_not_saved(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    base, other = encoder("bert", ""), tmp_path / "other"
    job = build_sequence_classification(config(base), base, Silent())
    shutil.copytree(base, other)
    weights = load_file(other / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    save_file({**weights, name: weights[name] * 3}, other / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    saving = replace(job.save.__self__, base=other)  # type: ignore[attr-defined]
    (tmp_path / "adapter").mkdir()
    with pytest.raises(CheckFailedError, match="away from the trained model"):
        saving.save(tmp_path / "adapter")


def test_a_decoder_scores_by_its_last_word(
    pico: Callable[[str], Path], config: Callable[..., TrainConfig]
) -> None:
    import torch

    base = pico("llama")
    rows = records(6)
    rows[0]["fields"]["body"] += " word 1 the quick brown fox"
    job = build_sequence_classification(config(base, rows), base, Silent())
    job.model.eval()
    with torch.no_grad():
        whole = float(job.loss(job.model, job.collate(job.train)))
        apart = sum(float(job.loss(job.model, job.collate([one]))) for one in job.train)
    assert job.facts["head"] == ["score"]
    assert whole == pytest.approx(apart, abs=1e-4)


@pytest.mark.parametrize(
    ("parts", "message"),
    [({"quantization": "nf4"}, "quantization: nf4 is there for task: causal-lm only"),
     ({"optimiser": {"packing": True}}, "optimiser.packing is there for task: causal-lm only"),
     ({"lora": {"targets": ["q_proj"]}}, "has no module q_proj")],
)  # fmt: skip
def test_what_only_language_models_have_is_refused(
    encoder: Callable[..., Path],
    config: Callable[..., TrainConfig],
    parts: dict[str, Any],
    message: str,
) -> None:
    base = encoder("bert", "")
    with pytest.raises(InputError, match=message):
        build_sequence_classification(config(base, **parts), base, Silent())


def test_data_of_one_label_are_refused(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig]
) -> None:
    base = encoder("bert", "")
    with pytest.raises(InputError, match=r"All 4 records to learn from have the label 0\.1"):
        build_sequence_classification(config(base, records(8)[::2]), base, Silent())


def test_records_that_validation_repeats_are_told(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig]
) -> None:
    base = encoder("bert", "")
    same = [{**row, "id": f"other-{row['id']}"} for row in records(16, 1)[:4]]
    same[0]["fields"]["body"] += " good" * 200
    job = build_sequence_classification(config(base, same), base, Silent())
    assert any(note.startswith("3 of 16 validation records stand word for") for note in job.notes)
    assert any(note.startswith("1 of 4 records were longer than 128 tokens") for note in job.notes)


def test_a_tokenizer_of_another_base_is_refused(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    base = build_encoder("bert", tmp_path / "base", "", rows=20)
    with pytest.raises(CheckpointError, match="the model has 20 rows"):
        build_sequence_classification(config(base), base, Silent())


def test_checkpointing_changes_no_gradient(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig]
) -> None:
    import torch

    base, gradients = encoder("deberta", ""), []
    for switched in (False, True):
        optimiser = {"gradient_checkpointing": switched}
        job = build_sequence_classification(config(base, optimiser=optimiser), base, Silent())
        for module in job.model.modules():  # dropout off, where checkpointing is on in training
            if "Dropout" in type(module).__name__:
                module.eval()
        job.loss(job.model, job.collate(job.train[:4])).backward()
        gradients.append({n: p.grad for n, p in job.model.named_parameters() if p.requires_grad})
    plain, other = gradients
    assert plain.keys() == other.keys()
    assert all(torch.allclose(plain[name], other[name], atol=1e-6) for name in plain)


def test_a_base_with_a_hole_is_refused(
    encoder: Callable[..., Path], config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    base = shutil.copytree(encoder("bert", ""), tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    gone = "encoder.layer.1.output.dense.weight"
    save_file({k: v for k, v in weights.items() if k != gone}, base / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(CheckpointError, match="lacks 1 weights of its model"):
        build_sequence_classification(config(base), base, Silent())
