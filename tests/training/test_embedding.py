"""SentenceTransformers: what they learn, and every way their adapter is used."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from loragraft.adapter.diagnose.run import diagnose
from loragraft.adapter.embedder import PROBE_SENTENCES, embed, load_embedder
from loragraft.adapter.merge_embedder import merge_embedder
from loragraft.adapter.peft_loading import quiet
from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.progress import Silent
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.errors import CheckFailedError, InputError, UnsupportedError
from loragraft.training.config import TrainConfig
from loragraft.training.embedding import build_embedding
from loragraft.training.run import Outcome, train
from tests.support.encoders import build_encoder, build_sentence_transformer
from tests.support.shared import build_once

SKY = ("sun", "moon", "star", "planet", "orbits", "bright", "dim")
HOME = ("cat", "dog", "sleep", "warm", "bread", "city", "train")


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """Return pairs of texts; those of one topic belong together."""
    chance, rows = random.Random(seed), []
    for number in range(count):
        first = chance.choice((SKY, HOME))
        other = HOME if first is SKY else SKY
        second, label = ((first, 1.0), (first, 0.8), (other, 0.2), (other, 0.0))[number % 4]
        a = f"what is {' '.join(chance.sample(first, 3))}?"
        b = f"the {' '.join(chance.sample(second, 4))}."
        rows.append({"kind": "embedding", "id": f"p{seed}-{number}", "task_type": "topics",
                     "a": a, "b": b, "label": label})  # fmt: skip
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def configure(base: Path, folder: Path, rows: int = 64, **parts: Any) -> TrainConfig:  # noqa: ANN401
    """Return a configuration whose data lie in a folder."""
    optimiser = {"learning_rate": 1e-2, "epochs": 4, "batch": 16, "accumulation": 1,
                 **parts.pop("optimiser", {})}  # fmt: skip
    data = parts.pop("data", None) or {
        "train": [str(write(folder / "train.jsonl", pairs(rows, 1)))],
        "validation": str(write(folder / "val.jsonl", pairs(24, 2))),
    }
    return TrainConfig.model_validate({
        "experiment_id": "topics", "task": "embedding", "base": str(base), "data": data,
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all"}, "optimiser": optimiser,
        "reporters": [], "evaluation": {"patience": 0, "samples": 1}, **parts,
    })  # fmt: skip


@pytest.fixture(scope="session")
def sentence_bert(shared_folder: Path) -> Path:
    """A SentenceTransformer of two layers."""
    return build_once(
        shared_folder / "encoders" / "sentence-bert",
        lambda part: build_sentence_transformer("bert", part),
    )


@pytest.fixture(scope="module")
def outcome(sentence_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A whole run on it."""
    folder = tmp_path_factory.mktemp("run")
    config = configure(sentence_bert, folder, embedding={"loss": "cosine"})
    return train(config, folder / "adapters")


def test_cosines_come_closer_to_their_labels(outcome: Outcome) -> None:
    first, last = outcome.log.evaluations[0], outcome.log.evaluations[-1]
    assert last.loss < first.loss / 2
    assert last.metrics["spearman"] > first.metrics["spearman"]
    assert -1 <= float(last.samples[0].answer) <= 1
    assert outcome.metadata["verification"]["verdict"] == "pass"
    assert check_checksums(outcome.folder) == []


def test_the_adapter_is_used_in_every_way_alike(
    outcome: Outcome, sentence_bert: Path, tmp_path: Path
) -> None:
    with quiet():
        model = load_embedder(sentence_bert)
        plain = embed(model, PROBE_SENTENCES)
        found = model.load_adapter(str(outcome.folder))
        loaded = embed(model.eval(), PROBE_SENTENCES)
    assert not found.missing_keys
    assert not found.unexpected_keys
    opened = open_embedder(EmbedderSpec(str(sentence_bert), adapter=str(outcome.folder)))
    searched = opened.embed(list(PROBE_SENTENCES))
    unit = loaded / np.linalg.norm(loaded, axis=1, keepdims=True)
    assert np.abs(searched - unit).max() < 1e-5
    report = merge_embedder(sentence_bert, outcome.folder, tmp_path / "merged")
    assert report.notes == ()  # its keys stand where they belong
    with quiet():
        merged = embed(load_embedder(tmp_path / "merged"), PROBE_SENTENCES)
    assert np.abs(merged - loaded).max() < 1e-5
    assert np.abs(plain - loaded).max() > 1e-3


def test_a_diagnosis_finds_nothing_wrong(outcome: Outcome, sentence_bert: Path) -> None:
    found = diagnose(sentence_bert, outcome.folder)
    proven = [one.name for one in found.hypotheses if one.confidence == "proven"]
    assert "sound" in proven


@pytest.mark.parametrize("loss", ["ranking", "negatives"])
def test_every_loss_falls(sentence_bert: Path, tmp_path: Path, loss: str) -> None:
    import torch

    config = configure(sentence_bert, tmp_path, embedding={"loss": loss})
    job = build_embedding(config, sentence_bert, Silent())
    job.model.eval()  # its dropout, not seeded here, drowns what few steps learn
    weights = [weight for weight in job.model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=5e-3)
    losses = []
    for _ in range(24):
        batch = job.collate(job.train[:16])
        loss_of_batch = job.loss(job.model, batch) / job.count(batch)
        loss_of_batch.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss_of_batch.detach()))
    assert losses[-1] < losses[0] * 0.7
    metrics = job.metrics()
    assert set(metrics) == ({"spearman", "own_first"} if loss == "negatives" else {"spearman"})
    learnt = 32 if loss == "negatives" else 64
    assert len(job.train) == learnt
    assert [note[:10] for note in job.notes] == (["32 of 64 p"] if loss == "negatives" else [])


def test_an_adapter_without_effect_is_not_published(sentence_bert: Path, tmp_path: Path) -> None:
    config = configure(
        sentence_bert, tmp_path, 16, optimiser={"learning_rate": 1e-30, "epochs": 1, "batch": 16}
    )
    with pytest.raises(CheckFailedError, match="changes nothing: probe sentences embed exactly"):
        train(config, tmp_path / "adapters")
    assert not (tmp_path / "adapters" / "topics").exists()


def test_a_small_type_is_allowed_its_rounding(sentence_bert: Path, tmp_path: Path) -> None:
    config = configure(
        sentence_bert, tmp_path, 16, adapter_dtype="bfloat16", optimiser={"epochs": 1}
    )
    job = build_embedding(config, sentence_bert, Silent())
    import torch

    with torch.no_grad():
        for name, weight in job.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.05)
    job.save(tmp_path)
    assert "adapter_config.json" in {path.name for path in tmp_path.iterdir()}


def test_questions_and_documents_get_the_models_prompts(
    sentence_bert: Path, tmp_path: Path
) -> None:
    import shutil

    base = shutil.copytree(sentence_bert, tmp_path / "base")
    settings = json.loads((base / "config_sentence_transformers.json").read_text())
    settings["prompts"] = {"query": "read ", "document": "of "}
    (base / "config_sentence_transformers.json").write_text(json.dumps(settings))
    job = build_embedding(configure(base, tmp_path, 8), base, Silent())
    assert job.facts["prompts"] == {"a": "read ", "b": "of "}
    plain = build_embedding(configure(sentence_bert, tmp_path, 8), sentence_bert, Silent())
    assert job.tokens(job.collate(job.train)) == plain.tokens(plain.collate(plain.train)) + 16
    assert job.facts["examples_sha256"] != plain.facts["examples_sha256"]


def test_long_texts_are_cut_and_counted(sentence_bert: Path, tmp_path: Path) -> None:
    rows = pairs(8, 1)
    rows[0]["a"] = "the sun " * 100
    data = {"train": [str(write(tmp_path / "long.jsonl", rows))]}
    config = configure(sentence_bert, tmp_path, data=data, optimiser={"max_length": 32})
    job = build_embedding(config, sentence_bert, Silent())
    assert job.facts["train"]["cut"] == {"texts": 1, "tokens": 202 - 32}
    assert job.facts["train"]["longest"] == 32
    assert max(group["a"]["input_ids"].shape[1] for group in job.collate(job.train)["groups"]) == 32
    assert job.metrics() == {}
    assert job.answer(0) is None


@pytest.mark.parametrize(
    ("parts", "label", "message"),
    [({"embedding": {"loss": "ranking"}}, 1.0, "All 8 pairs have the label 1"),
     ({"embedding": {"loss": "negatives"}}, 0.0, "Of 8 pairs 0 have a label above"),
     ({"optimiser": {"batch": 1}}, None, "compares the pairs of a batch"),
     ({"optimiser": {"packing": True}}, None, "packing is there for task: causal-lm only")],
)  # fmt: skip
def test_what_teaches_nothing_is_refused(
    sentence_bert: Path, tmp_path: Path, parts: dict[str, Any], label: float | None, message: str
) -> None:
    rows = [{**row, **({} if label is None else {"label": label})} for row in pairs(8, 1)]
    data = {"train": [str(write(tmp_path / "odd.jsonl", rows))]}
    with pytest.raises(InputError, match=message):
        build_embedding(
            configure(sentence_bert, tmp_path, data=data, **parts), sentence_bert, Silent()
        )


def test_validation_without_a_comparison_is_left_out(sentence_bert: Path, tmp_path: Path) -> None:
    same = [{**row, "label": 1.0} for row in pairs(8, 2)]
    data = {"train": [str(write(tmp_path / "train.jsonl", pairs(8, 1)))],
            "validation": str(write(tmp_path / "val.jsonl", same))}  # fmt: skip
    config = configure(sentence_bert, tmp_path, data=data)
    job = build_embedding(config, sentence_bert, Silent())
    assert job.validation == []  # a loss of 0 would be the best that any step could have
    assert any("nothing to compare; they are left out" in note for note in job.notes)


class Interrupted(Silent):
    """Ends a run after so many steps, as Ctrl-C does."""

    def __init__(self, steps: int) -> None:
        """Take the number of steps."""
        self._left = steps

    def advance(self, amount: int) -> None:
        """Count a step."""
        self._left -= amount
        if self._left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_as_an_unbroken_one(sentence_bert: Path, tmp_path: Path) -> None:
    config = configure(
        sentence_bert, tmp_path, 40,
        lora={"r": 4, "alpha": 8, "dropout": 0.1, "targets": "attention"},
        optimiser={"epochs": 2, "batch": 8, "accumulation": 2}, embedding={"loss": "negatives"},
        evaluation={"patience": 0, "samples": 0, "every": 2},
    )  # fmt: skip
    unbroken = train(config, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", progress=Interrupted(3))
    resumed = train(config, tmp_path / "broken")
    assert resumed.resumed_from > 0
    first, second = (one.folder / "adapter_model.safetensors" for one in (unbroken, resumed))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_saved_is_proven_whatever_the_run_computes_in(
    sentence_bert: Path, tmp_path: Path, precision: str
) -> None:
    config = configure(sentence_bert, tmp_path, embedding={"loss": "cosine"}, precision=precision)
    outcome = train(config, tmp_path / "adapters")
    assert outcome.metadata["hyper_parameters"]["precision"] == precision
    assert (outcome.folder / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("name", ["gradient_checkpointing", "dora"])
def test_variants_train_the_same_weights(sentence_bert: Path, tmp_path: Path, name: str) -> None:
    import torch

    optimiser = {"gradient_checkpointing": name == "gradient_checkpointing"}
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all", "dora": name == "dora"}
    gradients = []
    for parts in ({}, {"optimiser": optimiser, "lora": lora}):
        config = configure(sentence_bert, tmp_path, 16, **parts)
        job = build_embedding(config, sentence_bert, Silent())
        job.model.eval()  # without dropout
        job.loss(job.model, job.collate(job.train)).backward()
        gradients.append({n: p.grad for n, p in job.model.named_parameters() if p.requires_grad})
    plain, other = gradients
    shared = [key for key in plain if "lora_B" in key]
    assert all(torch.allclose(plain[key], other[key], atol=1e-5) for key in shared)
    assert (len(other) > len(plain)) is (name == "dora")


def test_a_bare_encoder_is_refused(tmp_path: Path) -> None:
    base = build_encoder("bert", tmp_path / "bare", "")
    with pytest.raises(UnsupportedError, match="is no SentenceTransformer"):
        build_embedding(configure(base, tmp_path), base, Silent())


@pytest.mark.slow
def test_minilm_learns_what_it_is_told(minilm_folder: Path, tmp_path: Path) -> None:
    """Texts of one topic come together in all-MiniLM-L6-v2."""
    data = {"train": [str(write(tmp_path / "train.jsonl", pairs(32, 1)))],
            "validation": str(write(tmp_path / "val.jsonl", pairs(12, 2)))}  # fmt: skip
    config = configure(
        minilm_folder, tmp_path, data=data, embedding={"loss": "cosine"},
        lora={"r": 8, "alpha": 16, "targets": "attention"},
        optimiser={"learning_rate": 3e-3, "epochs": 1, "batch": 8},
    )  # fmt: skip
    outcome = train(config, tmp_path / "adapters")
    first, last = outcome.log.evaluations[0], outcome.log.evaluations[-1]
    assert last.loss < first.loss * 0.8
    tensors = load_file(outcome.folder / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.encoder.layer.") for name in tensors)
