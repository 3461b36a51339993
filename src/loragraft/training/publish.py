"""From a trained model to the folder that is published: adapter, log, metadata, checksums.

Everything is made in a draft beside the checkpoints. Once the draft is whole, its content takes
the place of everything else in the staging folder, which then gets its name.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from loragraft import __version__
from loragraft.adapter.embedder import encoder_folder
from loragraft.adapter.findings import Finding, Severity, worst
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from loragraft.artifact.checksums import CHECKSUMS_NAME, read_checksums, write_checksums
from loragraft.artifact.files import write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import write_metadata
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import CheckFailedError
from loragraft.training.config import TrainConfig
from loragraft.training.effect import relative_change
from loragraft.training.job import Job
from loragraft.training.log import TrainingLog, write_log
from loragraft.training.saving import save_config

DRAFT = "draft"
KIND = "adapter"
_PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors",
             "bitsandbytes", "sentence-transformers", "numpy")  # fmt: skip
_SHOWN = 3


@dataclass(frozen=True)
class Trained:
    """What a finished run knows of itself.

    Attributes:
        config: As it was run.
        job: With the chosen weights in its model.
        base: The base's folder.
        base_hashes: SHA-256 of the base's weights, by file name.
        log: What happened.
        step: Whose weights were chosen.
        steps: Of the optimiser.
        seconds: That training took, all attempts together.
        precision: What was computed in.
        device: Where.
    """

    config: TrainConfig
    job: Job
    base: Path
    base_hashes: Mapping[str, str]
    log: TrainingLog
    step: int
    steps: int
    seconds: float
    precision: str
    device: str


def make_draft(trained: Trained, staging: Path, target: Path) -> Path:
    """Write everything that is published into a folder of its own, and check the adapter.

    Args:
        trained: The run.
        staging: Where the draft is made.
        target: Where it will stand.

    Returns:
        The draft.

    Raises:
        CheckFailedError: If the adapter is not sound.
        OutOfSpaceError: If the disk is full.
    """
    draft = staging / DRAFT
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir()
    with explain_full_disk(draft):
        trained.job.save(draft)
        findings = check(trained, draft)
        save_config(trained.config, draft, target)
        write_log(draft, trained.log)
        metadata = describe(trained, findings)
        write_metadata(draft, metadata)
        _write_pages(trained, metadata, draft)
        files = sorted(path for path in draft.rglob("*") if path.is_file())
        names = {path.relative_to(draft).as_posix(): sha256_file(path) for path in files}
        write_checksums(draft, names)
    return draft


def _write_pages(trained: Trained, metadata: Mapping[str, Any], draft: Path) -> None:
    """Write what people read: the card and the curves."""
    from loragraft.training.card import model_card
    from loragraft.training.curves import CURVES_NAME, draw_curves

    draw_curves(trained.log, draft / CURVES_NAME, gap_limit=trained.config.evaluation.gap)
    card = model_card(trained.config, trained.log, metadata)
    write_atomically(draft / "README.md", card.encode())


def check(trained: Trained, folder: Path) -> tuple[Finding, ...]:
    """Return what ``adapter verify`` says of the adapter.

    Raises:
        CheckFailedError: If it says that it is not sound.
    """
    embedding = trained.config.task == "embedding"
    base = encoder_folder(trained.base) if embedding else trained.base
    report = verify_adapter(VerifyRequest(folder, base, base_name=trained.config.base))
    if worst(report.findings) is Severity.FAIL:
        failed = [str(one) for one in report.findings if one.severity is Severity.FAIL]
        raise CheckFailedError(
            f"The trained adapter is not sound and is not published: {' '.join(failed[:_SHOWN])} "
            f"It lies in {folder}."
        )
    return report.findings


def promote(staging: Path) -> None:
    """Let the draft take the place of all else in the staging folder.

    It may be broken off and repeated: the list of checksums says what belongs to the draft, and is
    moved last.
    """
    draft = staging / DRAFT
    if not draft.is_dir():
        return
    listed = read_checksums(draft if (draft / CHECKSUMS_NAME).exists() else staging)
    names = [*sorted({PurePosixPath(name).parts[0] for name in listed}), CHECKSUMS_NAME]
    for path in staging.iterdir():
        if path.name not in {DRAFT, *names}:
            _delete(path)
    for name in names:
        if (draft / name).exists():
            os.replace(draft / name, staging / name)
    draft.rmdir()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def describe(trained: Trained, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the metadata of a run."""
    config, facts = trained.config, trained.job.facts
    told = (
        "examples_sha256",
        "train",
        "validation",
        "rows",
        "trained_parameters",
        "parameters",
        "before",
    )
    return {
        "kind": KIND,
        "experiment_id": config.experiment_id,
        "description": config.description,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dataset_tag": config.data.tag,
        "split_seed": facts.get("split_seed"),
        "dataset": {
            "files": facts.get("files", []),
            **{name: facts[name] for name in told if name in facts},
        },
        "base_model": config.base,
        "base_revision": config.revision,
        "base_sha256": dict(trained.base_hashes),
        "hyper_parameters": hyper_parameters(trained),
        "training_runtime": runtime(trained),
        "evaluation_summary": summary(trained),
        "verification": {
            "verdict": worst(findings).value,
            "findings": [finding.as_dict() for finding in findings],
        },
    }


def hyper_parameters(trained: Trained) -> dict[str, Any]:
    """Return what the run was configured by, paths and names left out."""
    config, settings = trained.config, trained.config.optimiser
    names = {"task", "prompt", "lora", "quantization", "adapter_dtype", "optimiser", "evaluation",
             "seed"}  # fmt: skip
    if config.task == "embedding":
        names.add("embedding")
    return {
        **config.model_dump(mode="json", include=names),
        "precision": trained.precision,
        "effective_batch": settings.batch * settings.accumulation,
        "steps": trained.steps,
    }


def runtime(trained: Trained) -> dict[str, Any]:
    """Return what the run was computed by, and how long it took."""
    import torch

    hardware = {"machine": platform.machine(), "system": platform.system(),
                "cores": os.cpu_count(), "device": trained.device}  # fmt: skip
    if trained.device == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
    return {
        "seconds": round(trained.seconds, 1),
        "threads": torch.get_num_threads(),
        "hardware": hardware,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what had a hand in it, where installed."""
    found = {"loragraft": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def summary(trained: Trained) -> dict[str, Any]:
    """Return how the run went, in figures."""
    log, first = trained.log, trained.log.evaluations[:1]
    chosen = next((one for one in log.evaluations if one.step == trained.step), None)
    before = first[0].loss if first and first[0].step == 0 else None
    return {
        "status": log.status,
        "chosen_step": trained.step,
        "chosen_by": "validation loss" if chosen else "last step",
        "validation_loss_before": before,
        "validation_loss": None if chosen is None else chosen.loss,
        "training_loss": log.training_loss(trained.step),
        "gap": None if chosen is None else chosen.gap,
        "metrics": {} if chosen is None else dict(chosen.metrics),
        "alarms": [alarm.words for alarm in log.alarms],
        "relative_change_of_weights": relative_change(trained.job.model),
    }
