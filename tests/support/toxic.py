"""A classifier of toxicity small enough to be trained in a second."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ("you", "are", "a", "vile", "kind", "stupid", "clever", "person", "what", "lovely", "day")
TOXIC = ("vile", "stupid")
LABELS = ("toxic", "severe_toxic", "obscene")


def build_classifier(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """Train a BERT of one layer to tell texts with an insult from others, and save it.

    Every label but the first means "kind", so that reading the wrong one shows.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=32)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=34, num_labels=len(labels),
        problem_type="multi_label_classification", hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    config.id2label, config.label2id = dict(enumerate(labels)), {n: i for i, n in enumerate(labels)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
    texts = [f"you are a {word} person" for word in WORDS] + list(WORDS)
    insults = torch.tensor([any(word in text for word in TOXIC) for text in texts])
    targets = torch.stack([insults, *[~insults] * (len(labels) - 1)], dim=1).float()
    given = tokenizer(texts, return_tensors="pt", padding=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model(**given, labels=targets).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rename_labels(folder: Path, labels: tuple[str, ...]) -> None:
    """Give a classifier's outputs other names."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["id2label"] = {str(number): name for number, name in enumerate(labels)}
    config["label2id"] = {name: number for number, name in enumerate(labels)}
    path.write_text(json.dumps(config), encoding="utf-8")
