"""``loragraft train run --dry-run``: what would be learnt, in figures and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loragraft.artifact.progress import Progress
    from loragraft.training.config import TrainConfig
    from loragraft.training.preview import Preview, Shown


def show_preview(
    config: TrainConfig, base: str | None, progress: Progress, *, as_json: bool
) -> None:
    """Print what a run would be."""
    from loragraft.cli.output import print_json, print_table, print_warnings
    from loragraft.training.load import require_training
    from loragraft.training.preview import preview
    from loragraft.training.rows import require_data
    from loragraft.training.run import find_base

    require_training(config)
    require_data(config.data)
    found = find_base(config, base)
    seen = preview(config, found.folder, progress)
    progress.end()
    if as_json:
        memory = None if seen.memory is None else seen.memory.to_json()
        print_json({"experiment_id": config.experiment_id, **vars(seen), "memory": memory})
        return
    print_warnings([*found.notes, *seen.notes])
    print_table(f"{config.experiment_id}, not trained", ["", ""], _rows(config, seen))
    for one in seen.shown:
        _show(one)


def _rows(config: TrainConfig, seen: Preview) -> list[list[str]]:
    settings = config.optimiser
    rows = {
        "base": config.base,
        "train": _side(seen.facts.get("train")),
        "validation": _side(seen.facts.get("validation")),
        "rows": f"{seen.facts['rows']:,}, packed" if "rows" in seen.facts else "",
        "batch": f"{settings.batch}, gradients of {settings.accumulation} added up",
        "steps": f"{seen.steps:,}, the learning rate rises for {seen.warmup:,}",
        "targets": ", ".join(config.lora.modules),
        "memory": _memory(seen),
        "time": seen.time.words,
    }
    return [[name, value] for name, value in rows.items() if value]


def _memory(seen: Preview) -> str:
    from loragraft.artifact.space import format_bytes

    if seen.memory is None:
        return ""
    return f"about {format_bytes(seen.memory.total)} of {format_bytes(seen.available)}"


def _side(facts: Any) -> str:  # noqa: ANN401 - what a task says of its data
    if not isinstance(facts, dict):
        return "" if facts is None else str(facts)
    words = [f"{facts[name]:,} {name}" for name in ("examples", "tokens", "learnt")
             if name in facts]  # fmt: skip
    lengths = [f"{name} {facts[name]:,}" for name in ("median", "p95", "longest") if name in facts]
    modes = [f"{count:,} {mode}" for mode, count in facts.get("modes", {}).items()]
    return "; ".join(", ".join(part) for part in (words, lengths, modes) if part)


def _show(one: Shown) -> None:
    """Print an example; what is learnt stands between marks, and in bold on a terminal."""
    from loragraft.chat.cleaning import clean

    click.echo(f"\n{clean(one.id)} ({one.mode}, {one.tokens} tokens; what is learnt: ⟦ ⟧)")
    for text, learnt in one.parts:
        shown = clean(text)
        click.echo(click.style(f"⟦{shown}⟧", bold=True) if learnt else shown, nl=False)
    click.echo("")
