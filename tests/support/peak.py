"""A child that trains for some steps and prints its peak of memory, in bytes."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from loragraft.training.causal_lm import answer_loss
from loragraft.training.config import TrainConfig
from loragraft.training.load import load_causal

SCALE = 1 if sys.platform == "darwin" else 1024
"""macOS counts bytes, Linux kibibytes."""


def peak() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * SCALE


def train(config: TrainConfig, base: Path, shape: tuple[int, int, int], steps: int) -> None:
    """Train on batches of rows, tokens and learnt tokens at the end of each row."""
    import torch

    torch.set_num_threads(1)
    model, _ = load_causal(config, base)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    loss = answer_loss(model)
    for step in range(steps):
        batch = _batch(*shape, seed=step)
        loss(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()


def _batch(rows: int, length: int, learnt: int, *, seed: int) -> dict[str, Any]:
    import torch

    ids = torch.randint(4, 400, (rows, length), generator=torch.Generator().manual_seed(seed))
    labels = torch.full_like(ids, -100)
    labels[:, -learnt:] = ids[:, -learnt:]
    mask = torch.ones_like(ids)
    mask[0, : length // 8] = 0
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def main() -> None:
    """Read a JSON object of config, base, shape and steps; print the peak."""
    given = json.loads(sys.argv[1])
    # What a run imports besides: it is part of what it takes.
    from transformers import Trainer  # noqa: F401

    before = peak()
    config = TrainConfig.model_validate(given["config"])
    train(config, Path(given["base"]), tuple(given["shape"]), given["steps"])
    print(json.dumps({"before": before, "peak": peak()}))  # noqa: T201


if __name__ == "__main__":
    main()
