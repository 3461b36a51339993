"""Pico models that have read a little of the example collection, and answer in a few words.

What they say is seldom right, but it is several different short answers that end: what a series
needs that is not stopped for being degenerate.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragraft.rag.answering.numbering import Shown
from loragraft.rag.answering.prompt import compose
from tests.support.passages import passage
from tests.support.sources import ROOT
from tests.support.talking import SIZES, TALKING, one_thread, prompt_ids, save_tokenizer

SCIENCE = ROOT / "examples" / "science"
SEED = 20251101
RECORDS, STEPS, RATE = 12, 60, 5e-3
NOT_LEARNT = -100
CONTEXT = 4096


def answers(part: str = "train") -> Iterator[tuple[str, str]]:
    """Yield prompts and answers: questions of a part of the split, alone and behind a passage."""
    papers = {p["doc_id"]: p["text"] for p in _lines(SCIENCE / "papers.jsonl")}
    for record in _lines(SCIENCE / "splits" / f"science_{part}.jsonl")[:RECORDS]:
        question, answer = record["question"], f"{record['answers'][0]} [P1]."
        document, _, span = record["evidence"][0].rpartition("#")
        start, stop = map(int, span.split("-"))
        yield question, answer
        yield compose(question, [Shown(1, passage(papers[document][start:stop]))]), answer


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def build_science(folder: Path) -> Path:
    """Build a Qwen2 checkpoint that answers in a few words and ends its turn."""
    import torch
    import transformers

    family = TALKING["qwen2"]
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        tokenizer = save_tokenizer(folder, family)
        torch.manual_seed(SEED)
        size = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)
        settings = {**SIZES, "max_position_embeddings": CONTEXT, "vocab_size": size + -size % 32,
                    "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}  # fmt: skip
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**settings))
        _learn(model, tokenizer)
        model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def _learn(model: Any, tokenizer: Any) -> None:  # noqa: ANN401
    """Teach all answers at once; the prompts themselves are not learnt."""
    import torch

    end = tokenizer.convert_tokens_to_ids(TALKING["qwen2"].end)
    ids, labels = [], []
    for question, answer in answers():
        prompt = prompt_ids(tokenizer, [{"role": "user", "content": question}])
        said = [*tokenizer.encode(answer, add_special_tokens=False), end]
        ids.append(torch.tensor(prompt + said))
        labels.append(torch.tensor([NOT_LEARNT] * len(prompt) + said))
    inputs = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=NOT_LEARNT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for _ in range(STEPS):
        loss = model(inputs, labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
