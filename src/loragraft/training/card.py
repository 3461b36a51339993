"""The model card of a trained adapter: what it was made of, how it went, how to use it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loragraft.chat.cleaning import clean
from loragraft.training.advice import Advice, advise
from loragraft.training.config import Task, TrainConfig
from loragraft.training.curves import CURVES_NAME
from loragraft.training.log import LOG_NAME, Sample, TrainingLog

TASK_TAGS: Mapping[Task, str] = {
    "causal-lm": "text-generation",
    "sequence-classification": "text-classification",
    "embedding": "sentence-similarity",
}
"""The Hub's names of what each task is for."""
USES: Mapping[Task, tuple[str, ...]] = {
    "causal-lm": ("loragraft export merge-and-quantize {base} FOLDER",),
    "sequence-classification": (),
    "embedding": (
        "loragraft rag index DOCUMENTS -o INDEX --embedder {base} --embedder-adapter FOLDER",
        "loragraft adapter merge-embedder {base} FOLDER -o MERGED",
    ),
}
"""What is done with an adapter of each task."""
CLASSIFY = (
    "from pathlib import Path",
    "from loragraft.training.classifier import load_classifier",
    "",
    'load_classifier(Path("BASE"), Path("FOLDER")).scores(["TEXT"])',
)
SHOWN = 3
"""Samples that a card shows; all stand in the log."""
LONGEST = 300
"""Characters of a sample's text in the card."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|$~])")
_REPOSITORY = re.compile(r"\w[\w.-]{0,95}/[\w.-]{1,96}")


def model_card(config: TrainConfig, log: TrainingLog, metadata: Mapping[str, Any]) -> str:
    """Return the card as Markdown with the Hub's front matter.

    Args:
        config: The run's.
        log: What happened.
        metadata: What ``EXPERIMENT_METADATA.json`` holds.
    """
    parts = [
        _front_matter(config),
        [f"# {_plain(config.experiment_id)}", "", _opening(config), ""],
        [_plain(config.description), ""] if config.description.strip() else [],
        _training(config, metadata),
        _course(config, log, metadata),
        _samples(log, metadata),
        _advice(advise(log, config)),
        _use(config),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _front_matter(config: TrainConfig) -> list[str]:
    lines = ["---", "library_name: peft"]
    if _REPOSITORY.fullmatch(config.base):  # the Hub takes nothing but a repository's name
        lines += [f"base_model: {json.dumps(config.base)}", "base_model_relation: adapter"]
    lines += [f"pipeline_tag: {TASK_TAGS[config.task]}", "tags:", "- lora", "- loragraft"]
    return [*lines, "---", ""]


def _opening(config: TrainConfig) -> str:
    lora = config.lora
    kind = " with weight decomposition (DoRA)" if lora.dora else ""
    kind += ", scaled by the root of the rank (rsLoRA)" if lora.rslora else ""
    bits = " loaded in four bits (QLoRA)" if config.quantization == "nf4" else ""
    return (
        f"A LoRA{kind} of rank {lora.r} and alpha {lora.alpha:g} on `{_code(config.base)}`{bits}, "
        f"for {TASK_TAGS[config.task].replace('-', ' ')}."
    )


def _training(config: TrainConfig, metadata: Mapping[str, Any]) -> list[str]:
    settings, lora = config.optimiser, config.lora
    targets = lora.targets if isinstance(lora.targets, str) else ", ".join(lora.targets)
    runtime = _inner(metadata, "training_runtime")
    rows = [
        ("data", _data(config, metadata)),
        ("targets", targets),
        ("dropout", f"{lora.dropout:g}"),
        ("learning rate", f"{settings.learning_rate:g}, {settings.schedule}"),
        ("epochs", f"{settings.epochs:g}"),
        ("batch", f"{settings.batch}, gradients of {settings.accumulation} added up"),
        ("longest example", f"{settings.max_length} tokens"),
        ("seed", str(config.seed)),
        ("split's seed", _text(metadata.get("split_seed"))),
        ("time", _time(runtime)),
        ("computed with", _versions(runtime)),
    ]
    return ["## Training", "", *table(("", ""), [row for row in rows if row[1]]), ""]


def _data(config: TrainConfig, metadata: Mapping[str, Any]) -> str:
    tag = metadata.get("dataset_tag") or config.data.tag
    found = _inner(metadata, "dataset")
    counts = [
        f"{examples:,} {words}"
        for name, words in (("train", "for training"), ("validation", "for validation"))
        if isinstance(examples := _inner(found, name).get("examples"), int)
    ]
    name = f"split {tag}" if tag else "files"
    return f"{name}: {', '.join(counts)}" if counts else name


def _time(runtime: Mapping[str, Any]) -> str:
    seconds = runtime.get("seconds")
    if not isinstance(seconds, (int, float)):
        return ""
    hardware = _inner(runtime, "hardware")
    where = hardware.get("gpu") or hardware.get("machine")
    threads = runtime.get("threads")
    used = f", {threads} threads" if threads and not hardware.get("gpu") else ""
    return f"{seconds:,.0f} s on {where}{used}" if where else f"{seconds:,.0f} s"


def _versions(runtime: Mapping[str, Any]) -> str:
    found = _inner(runtime, "versions")
    names = ("loragraft", "torch", "transformers", "peft")
    return ", ".join(f"{name} {found[name]}" for name in names if name in found)


def _course(config: TrainConfig, log: TrainingLog, metadata: Mapping[str, Any]) -> list[str]:
    found = _inner(metadata, "evaluation_summary")
    best = log.best
    rows = [
        ("validation loss before", _number(found.get("validation_loss_before"))),
        ("validation loss", _number(None if best is None else best.loss)),
        ("of step", "" if best is None else str(best.step)),
        ("training loss by then", _number(found.get("training_loss"))),
        *((name, _number(value)) for name, value in _inner(found, "metrics").items()),
        ("‖ΔW‖/‖W‖", _change(found.get("relative_change_of_weights"))),
        ("adapter verify", _text(_inner(metadata, "verification").get("verdict"))),
    ]
    lines = ["## How it went", "", f"![Curves]({CURVES_NAME})", ""]
    lines += [*table(("", ""), [row for row in rows if row[1]]), ""]
    if log.status != "finished":
        lines += [f"The run ended as: {log.status}.", ""]
    if log.alarms:
        lines += ["Alarms:", "", *(f"- step {a.step}: {_plain(a.words)}" for a in log.alarms), ""]
    return [*lines, f"Every step stands in `{LOG_NAME}`. Losses are nats a token of the answers, "
            "or a record; they say how well answers are predicted, not how good they are.",
            ""]  # fmt: skip


def _change(value: object) -> str:
    if isinstance(value, Mapping):
        least, mean, most = (_number(value.get(key)) for key in ("min", "mean", "max"))
        return f"{mean} ({least} to {most})" if mean else ""
    return _number(value)


def _samples(log: TrainingLog, metadata: Mapping[str, Any]) -> list[str]:
    chosen = _inner(metadata, "evaluation_summary").get("chosen_step")
    shown = [e for e in log.evaluations if e.samples]
    at = next((e for e in shown if e.step == chosen), shown[-1] if shown else None)
    if at is None:
        return []
    rows = [_sample(sample) for sample in at.samples[:SHOWN]]
    head = ("question", "expected", "answer")
    intro = f"Validation prompts, answered greedily after step {at.step}:"
    return ["## Samples", "", intro, "", *table(head, rows), ""]


def _sample(sample: Sample) -> tuple[str, str, str]:
    return _short(sample.question), _short(sample.expected), _short(sample.answer)


def _advice(advice: Sequence[Advice]) -> list[str]:
    lines = [f"- {item.kind}: {_plain(item.words)}" for item in advice]
    return ["## For the next run", "", *lines, ""]


def _use(config: TrainConfig) -> list[str]:
    base = shlex.quote(config.base)
    commands = [
        f"loragraft adapter verify FOLDER --base {base}",
        *(line.format(base=base) for line in USES[config.task]),
    ]
    lines = ["## Use it", "", "```", *(clean(line) for line in commands), "```", ""]
    if config.task == "sequence-classification":
        lines += ["```python", *CLASSIFY, "```", ""]
    return [*lines, "`sha256sum -c checksums.txt` checks the files."]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table in Markdown whose cells are shown as they are."""
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return [*lines, *(f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows)]


def _inner(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return f"{value:.4g}"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", clean(" ".join(text.split())))


def _code(text: str) -> str:
    """Return a text that can stand between backticks."""
    return clean(" ".join(text.split())).replace("`", "'")
