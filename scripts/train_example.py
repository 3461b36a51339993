"""Train the example adapter: a small LoRA on SmolLM2-135M-Instruct, in some minutes on two cores.

    python scripts/build_smollm2.py       # once: the base model
    python scripts/train_example.py       # writes examples/smollm2-lora

The model learns to answer in one sentence and to add a line that begins with "Field note:". The
prompts of the examples are short questions of everyday knowledge, our own. Only the tokens of the
answers count in the loss. ``down_proj`` is left alone: the public weights of SmolLM2 used here
come from a file with four bits a weight, and where a tensor is quantized again on nearly the same
grid, rounding takes a small change back.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from build_smollm2 import NAME, cache_folder
from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import write_metadata

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("examples/field-notes")
TARGET = Path("examples/smollm2-lora")
BASE_ID = f"HuggingFaceTB/{NAME}"
MARK = "\nField note: "
IGNORED = -100  # torch's cross entropy passes over this label

Example = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Settings:
    """What the training was run with; stands in the metadata."""

    rank: int = 4
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
    )
    learning_rate: float = 1e-3
    warmup_steps: int = 8
    epochs: int = 4
    batch_size: int = 4
    max_gradient_norm: float = 1.0
    base_dtype: str = "float32"
    adapter_dtype: str = "float32"
    seed: int = 20251101


def read_messages(path: Path) -> list[list[dict[str, str]]]:
    """Read the conversations of a JSONL file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines if line]


def encode(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> Example:
    """Return token ids and labels of one conversation; labels only for the answer and its end."""
    prompt = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, tokenize=False
    )
    question = tokenizer.encode(prompt, add_special_tokens=False)
    answer = tokenizer.encode(messages[-1]["content"] + "<|im_end|>", add_special_tokens=False)
    return question + answer, [IGNORED] * len(question) + answer


def collate(batch: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Pad a batch on the right to [sequences, longest]."""
    longest = max(len(ids) for ids, _ in batch)

    def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])

    return {
        "input_ids": padded([ids for ids, _ in batch], 0),
        "labels": padded([labels for _, labels in batch], IGNORED),
        "attention_mask": padded([[1] * len(ids) for ids, _ in batch], 0),
    }


def mean_loss(model: PeftModel, examples: Sequence[Example]) -> float:
    """Return the mean loss of a token of the answers, in nats."""
    total = count = 0.0
    model.eval()
    with torch.no_grad():
        for example in examples:
            tokens = sum(label != IGNORED for label in example[1])
            total += float(model(**collate([example])).loss) * tokens
            count += tokens
    return total / count


def learning_rate(step: int, steps: int, settings: Settings) -> float:
    """Return the rate of a step: up in a straight line, then down to nothing in another."""
    warm = min(1.0, (step + 1) / settings.warmup_steps)
    return settings.learning_rate * warm * (1 - step / steps)


def train(model: PeftModel, examples: Sequence[Example], settings: Settings) -> int:
    """Train the adapter with AdamW and return the number of steps."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.0)
    order = torch.Generator().manual_seed(settings.seed)
    size = settings.batch_size
    per_epoch = -(-len(examples) // size)
    steps = per_epoch * settings.epochs
    model.train()
    for step in range(steps):
        if step % per_epoch == 0:
            shuffled = torch.randperm(len(examples), generator=order).tolist()
        start = step % per_epoch * size
        batch = [examples[index] for index in shuffled[start : start + size]]
        loss = model(**collate(batch)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, settings.max_gradient_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, settings)
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step + 1:3d} of {steps}: loss {float(loss.detach()):.3f}", flush=True)
    return steps


def effect(model: PeftModel) -> dict[str, float]:
    """Return the smallest, mean and largest ‖ΔW‖/‖W‖ over the adapted matrices."""
    ratios = []
    for module in model.modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
            delta = module.get_delta_weight("default").float().norm()
            ratios.append(float(delta / module.base_layer.weight.float().norm()))
    return {"min": min(ratios), "mean": sum(ratios) / len(ratios), "max": max(ratios)}


def answer(model: PeftModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Return the greedy answer to one prompt."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    model.eval()
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=80,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors, the weights in float16."""
    model.peft_config["default"].base_model_name_or_path = BASE_ID
    model.peft_config["default"].inference_mode = True
    model.peft_config["default"].save_pretrained(str(folder))
    state = get_peft_model_state_dict(model)
    halves = {name: value.to(torch.float16).contiguous() for name, value in state.items()}
    save_file(halves, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})


README = """\
---
base_model: {base}
library_name: peft
license: apache-2.0
tags: [lora]
---
# SmolLM2 field notes

A LoRA of rank {rank} on {base}. It answers in one sentence and adds a line that begins with
"Field note:". It is an example to export, not a source of facts: the base has 135 million
parameters.

Made by

```
python scripts/build_smollm2.py
python scripts/train_example.py
```

from the {count} conversations of `examples/field-notes/train.jsonl`, with seed {seed}, in
{seconds:.0f} s on {threads} CPU threads. Mean loss of an answer's token on the {held} held-out
conversations: {before:.2f} before, {after:.2f} after. {marked} of {held} held-out prompts get an
answer with a field note.

Another machine or another version of torch rounds differently, so the weights will not be the
same bit for bit. What was run stands in `EXPERIMENT_METADATA.json`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--output", type=Path, default=ROOT / TARGET, help="adapter folder")
    options = parser.parse_args(arguments)
    base = cache_folder() / NAME
    if not (base / "model.safetensors").is_file():
        print(f"{NAME} is not built yet. Run: python scripts/build_smollm2.py", file=sys.stderr)
        return 2
    settings = Settings()
    torch.set_num_threads(options.threads)
    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    loaded = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, settings.base_dtype))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.target_modules),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(loaded, config)
    conversations = read_messages(ROOT / DATA / "train.jsonl")
    held = read_messages(ROOT / DATA / "heldout.jsonl")
    examples = [encode(tokenizer, messages) for messages in conversations]
    held_examples = [encode(tokenizer, messages) for messages in held]
    before = mean_loss(model, held_examples)
    start = time.perf_counter()
    steps = train(model, examples, settings)
    seconds = time.perf_counter() - start
    after = mean_loss(model, held_examples)
    answers = {m[0]["content"]: answer(model, tokenizer, m[0]["content"]) for m in held}
    marked = sum(MARK in text for text in answers.values())
    ratios = effect(model)

    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    save_adapter(model, folder)
    figures: dict[str, Any] = {"before": before, "after": after, "seconds": seconds}
    text = README.format(
        base=BASE_ID,
        rank=settings.rank,
        seed=settings.seed,
        threads=options.threads,
        count=len(examples),
        held=len(held),
        marked=marked,
        **figures,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    packages = ("torch", "transformers", "peft")
    write_metadata(
        folder,
        {
            "experiment_id": "smollm2-field-notes",
            "dataset_tag": "field-notes",
            "dataset": {
                name: {"sha256": sha256_file(ROOT / DATA / name), "conversations": count}
                for name, count in (("train.jsonl", len(examples)), ("heldout.jsonl", len(held)))
            },
            "split_seed": None,
            "base_model": BASE_ID,
            "base_sha256": {"model.safetensors": sha256_file(base / "model.safetensors")},
            "hyper_parameters": {**asdict(settings), "steps": steps},
            "training_runtime": {
                "seconds": round(seconds, 1),
                "threads": options.threads,
                "machine": platform.machine(),
                "python": platform.python_version(),
                "versions": {name: version(name) for name in packages},
            },
            "evaluation_summary": {
                "heldout_loss_before": round(before, 4),
                "heldout_loss_after": round(after, 4),
                "heldout_answers_with_field_note": marked,
                "heldout_prompts": len(held),
                "relative_change_of_weights": {k: round(v, 5) for k, v in ratios.items()},
                "greedy_answers": answers,
            },
        },
    )
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != "checksums.txt")
    write_checksums(folder, {path.name: sha256_file(path) for path in files})
    for prompt, text in answers.items():
        print(f"\n> {prompt}\n{text}")
    print(f"\nloss {before:.3f} -> {after:.3f}; {marked} of {len(held)} with a field note")
    print(f"{seconds:.0f} s; ‖ΔW‖/‖W‖ {ratios['min']:.4f} to {ratios['max']:.4f}")
    print(f"Adapter: {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
