"""What a run would ask, and what that may take: questions, prompts, tokens, time and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.checkpoint.bundle import open_model
from loragraft.checkpoint.resolve import existing_path
from loragraft.engine.batch.specs import (
    AnthropicSpec,
    LlamaSpec,
    OllamaSpec,
    OpenAiSpec,
    TransformersSpec,
)
from loragraft.errors import InputError, LoragraftError
from loragraft.experiment.arm_run import ArmJob, part_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.key import asked_of, digest
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.records import FAILED
from loragraft.experiment.run import RunRequest, configured, left_out, ordered
from loragraft.experiment.run_info import RunInfo, read_run
from loragraft.experiment.store import Kept as _Kept
from loragraft.experiment.store import Key, again, read_samples

if TYPE_CHECKING:
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.arms.protocol import Question

SHOWN = 1
"""Prompts that are shown of each experiment."""
READ, WRITTEN = 300 * 105e6, 180 * 105e6
"""Tokens a second times bytes of the model, read and written, of llama.cpp on two cores with many
conversations in one batch: SmolLM2-135M in Q4_K_M, 105 MB, of prompts with passages 250 to 340
tokens/s and of 32 answers at once 156 to 210 (docs/benchmarks.md, the demo's runs)."""
SLOWER = 2.0
"""How much longer transformers takes on a processor than llama.cpp, byte for byte."""
_MILLION = 1e6


@dataclass(frozen=True)
class ArmPlan:
    """What an experiment would ask.

    Attributes:
        name: Its id.
        engine: The model.
        questions: How many.
        repeats: Answers to each.
        waiting: Answers that are not there yet, as far as files tell.
        prompt_tokens: Of those, all prompts together: an estimate.
        most_tokens: What those answers may have together.
        prompts: Messages of the first questions.
        faults: Questions that cannot be asked, with the reason.
        seconds: How long that may take; None where nobody knows.
        cost: US dollars at most; None where there are no prices.
        rests_on: What the estimate of the time rests on; empty without one.
        lacking: Why the model cannot be asked as things are; empty where nothing is known to lack.
        left_out: Why it would not be run, or cannot be.
    """

    name: str
    engine: str
    questions: int = 0
    repeats: int = 1
    waiting: int = 0
    prompt_tokens: int = 0
    most_tokens: int = 0
    prompts: tuple[tuple[Mapping[str, str], ...], ...] = ()
    faults: Mapping[str, str] | None = None
    seconds: float | None = None
    cost: float | None = None
    rests_on: str = ""
    lacking: str = ""
    left_out: str = ""


def plan_series(
    config: SeriesConfig, request: RunRequest, progress: Progress | None = None
) -> list[ArmPlan]:
    """Return what a run would ask; nothing is written, and no language model is opened.

    Passages are searched for, so that the prompts are those of the run.

    Raises:
        InputError: If the questions cannot be read, or an experiment is unknown.
    """
    from loragraft.experiment.arms.opening import Shared

    config, progress = configured(config, request), progress or Silent()
    names, questions = ordered(config, request.only), QuestionFile(config)
    with Shared(config, on_note=progress.note) as shared:
        return [_tried(_Task(config, name, questions, shared, progress, request)) for name in names]


@dataclass(frozen=True)
class _Task:
    """An experiment that is to be planned, and what it needs for that."""

    config: SeriesConfig
    name: str
    file: QuestionFile
    shared: Shared
    progress: Progress
    request: RunRequest


def _tried(task: _Task) -> ArmPlan:
    """Plan an experiment; what keeps it from being run is its plan's."""
    try:
        return _plan(task)
    except LoragraftError as error:
        engine = str(getattr(task.config.experiments[task.name].engine, "model", ""))
        return ArmPlan(task.name, engine, left_out=str(error))


def _plan(task: _Task) -> ArmPlan:
    from loragraft.experiment.arms.opening import open_arm

    config, name, shared, progress = task.config, task.name, task.shared, task.progress
    experiment = config.experiments[name]
    engine = str(getattr(experiment.engine, "model", "an average"))
    reason = left_out(config, name)
    if reason:
        return ArmPlan(name, engine, left_out=reason)
    questions = task.file.of(experiment.task)
    job = ArmJob(config, name, questions, lambda: shared, progress, task.request.restart,
                 task.request.retry)  # fmt: skip
    with closing(open_arm(config, name, shared, samples_of=lambda part: part_of(job, part))) as arm:
        waiting = _waiting(job, arm.repeats)
        if not arm.asks:
            return ArmPlan(name, engine, len(questions), arm.repeats, len(waiting))
        progress.begin(f"{name}: preparing", len(questions), "questions")
        prepared = {}
        for record in questions.records:
            prepared[record.id] = arm.prepare(record, None)
            progress.advance(1)
    return _estimated(job, engine, prepared, waiting, arm.repeats)


def _waiting(job: ArmJob, repeats: int) -> list[Key]:
    """Return the samples that are not there, as far as small files tell."""
    info, keys = _run(job), job.keys(repeats)
    if info is None or job.restart or info.asked != digest(asked_of(job.config, job.name)):
        return keys
    digests = job.questions.digests
    done = {
        key for key, sample in read_samples(job.folder).items()
        if sample.record == digests.get(key[0])
        and not again(_Kept(sample.status, sample.record, sample.tries))
        and not (job.retry and sample.status in FAILED)
    }  # fmt: skip
    return [key for key in keys if key not in done]


def _run(job: ArmJob) -> RunInfo | None:
    """Return what is there; what cannot be read keeps nobody from a restart."""
    try:
        return read_run(job.folder)
    except InputError:
        if job.restart:
            return None
        raise


def _estimated(
    job: ArmJob,
    engine: str,
    prepared: Mapping[str, Question],
    waiting: Sequence[Key],
    repeats: int,
) -> ArmPlan:
    config, name = job.config, job.name
    asked = [prepared[key[0]] for key in waiting if not prepared[key[0]].fault]
    read = sum(question.tokens for question in asked)
    most = sum(question.max_tokens for question in asked)
    size, slower, lacking = _size(config.experiments[name].engine)
    seconds, rests_on = _time(_run(job), read, most, len(asked))
    if seconds is None and size:
        seconds = slower * size * (read / READ + most / WRITTEN)
        rests_on = "the model's size, two cores, and answers as long as they may be"
    return ArmPlan(
        name,
        engine,
        len(prepared),
        repeats,
        len(waiting),
        read,
        most,
        tuple(_plain(question) for question in list(prepared.values())[:SHOWN]),
        {key: question.fault for key, question in prepared.items() if question.fault},
        seconds,
        _cost(config.experiments[name].engine, read, most),
        rests_on,
        lacking,
    )


def _plain(question: Question) -> tuple[Mapping[str, str], ...]:
    return tuple({"role": m["role"], "content": m["content"]} for m in question.messages)


def _cost(spec: Any, read: int, most: int) -> float | None:  # noqa: ANN401
    if not isinstance(spec, OpenAiSpec | AnthropicSpec):
        return None
    if spec.input_price is None or spec.output_price is None:
        return None
    return (read * spec.input_price + most * spec.output_price) / _MILLION


def _time(info: RunInfo | None, read: int, most: int, count: int) -> tuple[float | None, str]:
    """Return seconds by what has been answered here before, and what they rest on; None without."""
    load = info.load if info is not None else {}
    tokens = (load.get("prompt_tokens") or 0) + (load.get("tokens") or 0)
    wall = load.get("wall_seconds") or 0
    if not tokens or not wall or info is None or not info.answered:
        return None, ""
    written = (load.get("tokens") or 0) / info.answered
    expected = read + min(most, written * count)
    return expected * wall / tokens, "what this experiment has answered so far"


def _size(spec: Any) -> tuple[int, float, str]:  # noqa: ANN401
    """Return bytes of a model on this disk, how slowly its engine reads them, and what lacks."""
    try:
        if isinstance(spec, LlamaSpec):
            return open_model(Path(spec.model), spec.quant).gguf.stat().st_size, 1.0, ""
        path = existing_path(spec.model) if isinstance(spec, TransformersSpec) else None
        if path is not None and path.is_dir():
            return sum(f.stat().st_size for f in path.glob("*.safetensors")), SLOWER, ""
        if isinstance(spec, OllamaSpec):
            return _served(spec), 1.0, ""
    except (OSError, LoragraftError) as error:
        return 0, 1.0, str(error)
    return 0, 1.0, ""


def _served(spec: OllamaSpec) -> int:
    from loragraft.engine.ollama_server import OllamaServer

    with OllamaServer(spec.host) as server:
        for model in server.models():
            if str(model.get("name", "")).removesuffix(":latest") == spec.model:
                return int(model.get("size") or 0)
    return 0
