"""Reranking by a real cross-encoder, untrained: its scores, its limits, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.errors import CheckpointError, UnsupportedError
from loragraft.rag.index.store import Index
from loragraft.rag.search.rerank import CrossEncoderReranker
from loragraft.rag.search.retrieve import Retriever
from tests.support.minilm import minilm_folder
from tests.support.shared import build_once


def build(folder: Path) -> Path:
    """Save a small BERT with one score and MiniLM's tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def cross_encoder(shared_folder: Path) -> Path:
    return build_once(shared_folder / "cross-encoder", build)


def by_transformers(folder: Path, question: str, text: str) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer(question, text, truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        return float(model(**inputs).logits[0, 0])


@pytest.mark.slow
def test_scores_are_those_of_transformers_in_any_batch(cross_encoder: Path) -> None:
    texts = [
        "A ferry.",
        "The violin and the ferry meet the harbour.",
        "?",
        "stone " * 500,
        "\ud800",
    ]
    question = "Where is the ferry?"
    scores = CrossEncoderReranker(cross_encoder, batch=2).score(question, texts)
    wanted = [by_transformers(cross_encoder, question, text) for text in texts[:4]]
    np.testing.assert_allclose(scores[:4], wanted, atol=1e-4)
    assert np.ptp(scores) > 0.01
    alone = CrossEncoderReranker(cross_encoder, batch=16)
    np.testing.assert_allclose(alone.score(question, texts), scores, atol=1e-4)
    assert np.isfinite(alone.score("word " * 10**5, texts)).all()
    assert alone.score(question, []).shape == (0,)


def test_passages_come_in_its_order(index: Index, static: Embedder, cross_encoder: Path) -> None:
    reranker = CrossEncoderReranker(cross_encoder)
    found = Retriever(index, static, reranker=reranker).retrieve("the violin", 6)
    scores = [passage.score for passage in found]
    assert scores == sorted(scores, reverse=True)
    texts = ["\n".join((*p.chunk.headings, p.chunk.text)) for p in found]
    np.testing.assert_allclose(reranker.score("the violin", texts), scores, atol=1e-4)


def copy(folder: Path, target: Path, **config: object) -> Path:
    shutil.copytree(folder, target)
    values = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(values | config))
    return target


def test_what_is_no_reranker_is_refused_before_anything_loads(
    cross_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        CrossEncoderReranker(tmp_path / "nowhere")
    with pytest.raises(UnsupportedError, match=r"is no reranker.*BertModel"):
        CrossEncoderReranker(minilm_folder())
    three = {"0": "no", "1": "perhaps", "2": "yes"}
    with pytest.raises(UnsupportedError, match="gives 3 scores"):
        CrossEncoderReranker(copy(cross_encoder, tmp_path / "three", id2label=three))
    headless = copy(cross_encoder, tmp_path / "headless")
    shutil.copy(minilm_folder() / "model.safetensors", headless)
    with pytest.raises(UnsupportedError, match="no head that makes a score"):
        CrossEncoderReranker(headless)
    (headless / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors"):
        CrossEncoderReranker(headless)
    (headless / "config.json").write_text("{")
    with pytest.raises(CheckpointError):
        CrossEncoderReranker(headless)
