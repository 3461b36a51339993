"""Adapters that are really trained, on a pico model, until they answer as they should."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loragraft.adapter.peft_loading import load_checkpoint, quiet
from loragraft.adapter.probe_prompts import ProbePrompt
from loragraft.adapter.speaking import Speaker

SEED = 20251101
RATE, STEPS, ENOUGH = 4e-3, 120, 0.02
END = 2
"""The pico tokenizer's end of a text."""


def train_answers(
    base: Path, folder: Path, prompts: Sequence[ProbePrompt], answers: Sequence[str]
) -> Path:
    """Train a LoRA until a model gives each prompt its answer, and save it."""
    import torch
    from peft import LoraConfig, get_peft_model

    with quiet():
        torch.manual_seed(SEED)
        model = load_checkpoint(base, "float32")
        options = LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )  # fmt: skip
        wrapped = get_peft_model(model, options)
        ids, labels = _batch(Speaker(base), prompts, answers)
        trained = [p for p in wrapped.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=RATE)
        for _ in range(STEPS):
            loss = wrapped(input_ids=ids, labels=labels).loss
            if float(loss) < ENOUGH:
                break
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        wrapped.save_pretrained(folder)
    return folder


def _batch(speaker: Speaker, prompts: Sequence[ProbePrompt], answers: Sequence[str]):  # noqa: ANN202
    """Return ids and labels, ``[prompts, longest]``; only the answers are labelled."""
    import torch

    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        asked = speaker.encode(prompt)["input_ids"][0].tolist()
        new = speaker.tokenizer(answer, add_special_tokens=False)["input_ids"]
        rows.append((asked, [*new, END]))
    longest = max(len(asked) + len(new) for asked, new in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (asked, new) in enumerate(rows):
        stop = len(asked) + len(new)
        ids[row, :stop] = torch.tensor(asked + new)
        labels[row, len(asked) : stop] = torch.tensor(new)
    return ids, labels
