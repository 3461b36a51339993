"""A series run to its end: every experiment the same questions, one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.engine.batch.opening import missing_key
from loragraft.engine.batch.specs import TransformersSpec
from loragraft.errors import InputError, LoragraftError, OutOfSpaceError, UnavailableError
from loragraft.experiment.arm_run import ArmJob, ArmOutcome, folder_of, run_arm
from loragraft.experiment.config import SeriesConfig, load_series
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.run_info import read_run

if TYPE_CHECKING:
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.metrics.opening import Tools

COMMAND = "loragraft experiment run"


@dataclass(frozen=True)
class RunRequest:
    """How a series is run.

    Attributes:
        only: Experiments or their aliases; empty for all.
        limit: Questions, in place of the configuration's.
        restart: Whether what is there is moved aside and asked anew.
        retry: Whether samples that failed twice are asked again.
        base: Folder of the checkpoint, where the configuration's is elsewhere.
        path: Of the configuration, for messages.
        score: Whether answers are measured, too.
    """

    only: Sequence[str] = ()
    limit: int | None = None
    restart: bool = False
    retry: bool = False
    base: str | None = None
    path: Path = Path("CONFIG")
    score: bool = True


@dataclass(frozen=True)
class SeriesOutcome:
    """What became of a series.

    Attributes:
        config: As it was run.
        arms: What became of each experiment, in order.
        judged: Pairs that a judge has compared, as JSON values.
        unjudged: Why the judge could not be asked; empty where it was, or there is none.
    """

    config: SeriesConfig
    arms: tuple[ArmOutcome, ...]
    judged: tuple[Mapping[str, Any], ...] = ()
    unjudged: str = ""

    @property
    def failed(self) -> bool:
        """Whether an experiment failed or was stopped, or the judge failed."""
        ended = any(arm.state in ("failed", "stopped") for arm in self.arms)
        return ended or bool(self.unjudged)


def configured(config: SeriesConfig, request: RunRequest) -> SeriesConfig:
    """Return a configuration with a request's own values in it.

    Raises:
        InputError: If the limit is none.
    """
    if request.limit is not None:
        if request.limit < 1:
            raise InputError(f"The limit is {request.limit}; expected at least one question.")
        data = config.data.model_copy(update={"limit": request.limit})
        config = config.model_copy(update={"data": data})
    return config if request.base is None else _with_base(config, request.base)


def _with_base(config: SeriesConfig, base: str) -> SeriesConfig:
    experiments = {}
    for name, experiment in config.experiments.items():
        engine = experiment.engine
        if isinstance(engine, TransformersSpec):
            engine = engine.model_copy(update={"model": base})
        experiments[name] = experiment.model_copy(update={"engine": engine})
    return config.model_copy(update={"experiments": experiments})


def run_series(
    config: SeriesConfig,
    request: RunRequest = RunRequest(),
    progress: Progress | None = None,
) -> SeriesOutcome:
    """Run the experiments of a series that are not complete, and measure their answers.

    One that fails does not stop the others. What is answered is kept, also of one that failed or
    was killed: the same command goes on.

    Raises:
        InputError: If the questions cannot be read, an experiment is unknown, or a series that
            must be complete before is not (says which command makes it so), or the judge's
            pairs are none.
        OutOfSpaceError: If the disk is full.
        KeyboardInterrupt: If the user ends it.
    """
    config = configured(config, request)
    names = ordered(config, request.only)
    require_complete_before(config)
    if config.judge is not None:
        from loragraft.experiment.judge.series import pair_names

        pair_names(config)  # wrong names are refused before an hour of answers
    questions = QuestionFile(config)
    progress = progress or Silent()
    with ExitStack() as stack:
        lazy = _Lazy(config, progress, stack)
        arms = [_run_one(config, name, questions, lazy, request, progress) for name in names]
        if config.judge is None or not request.score:
            return SeriesOutcome(config, tuple(arms))
        pairs, error = _judge(config, questions, lazy, progress)
    return SeriesOutcome(config, tuple(arms), pairs, error)


def _judge(
    config: SeriesConfig, questions: QuestionFile, shared: _Lazy, progress: Progress
) -> tuple[tuple[Mapping[str, Any], ...], str]:
    """Let the judge compare pairs; what keeps it from doing so becomes words."""
    from loragraft.experiment.judged import judge_arms

    try:
        results = judge_arms(config, questions, shared, progress)
    except OutOfSpaceError:
        raise
    except LoragraftError as error:
        return (), f"The judge could not be asked: {error}"
    return tuple(result.summary.to_json() for result in results), ""


class _Lazy:
    """What experiments share, made when the first one needs it."""

    def __init__(self, config: SeriesConfig, progress: Progress, stack: ExitStack) -> None:
        self._config, self._progress, self._stack = config, progress, stack
        self._shared: Shared | None = None
        self._tools: Tools | None = None

    def tools(self) -> Tools:
        if self._tools is None:
            from loragraft.experiment.judged import open_tools

            self._tools = self._stack.enter_context(open_tools(self._config, self))
        return self._tools

    def __call__(self) -> Shared:
        if self._shared is None:
            from loragraft.experiment.arms.opening import Shared

            shared = Shared(self._config, on_note=self._progress.note)
            self._stack.callback(shared.close)
            self._shared = shared
        return self._shared


def _run_one(
    config: SeriesConfig,
    name: str,
    questions: QuestionFile,
    shared: _Lazy,
    request: RunRequest,
    progress: Progress,
) -> ArmOutcome:
    """Run an experiment; what keeps it from its end becomes its outcome."""
    started, folder = time.monotonic(), folder_of(config, name)
    reason = left_out(config, name)
    if reason:
        return ArmOutcome(name, "left out", folder, message=reason)
    try:
        found = questions.of(config.experiments[name].task)
        job = ArmJob(config, name, found, shared, progress, request.restart, request.retry,
                     shared.tools)  # fmt: skip
        outcome = run_arm(job)
        if request.score:
            from loragraft.experiment.scoring import score_arm

            score_arm(job, progress=progress)
    except OutOfSpaceError:
        raise
    except LoragraftError as error:
        return _failed(config, name, error, time.monotonic() - started)
    return replace(outcome, seconds=time.monotonic() - started)


def _failed(config: SeriesConfig, name: str, error: LoragraftError, seconds: float) -> ArmOutcome:
    optional = config.experiments[name].optional and isinstance(error, UnavailableError)
    info = _info(folder_of(config, name))
    return ArmOutcome(
        name,
        "left out" if optional else "failed",
        folder_of(config, name),
        total=info.total if info else 0,
        counts=info.counts if info else {},
        message=str(error),
        seconds=seconds,
    )


def _info(folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202
    try:
        return read_run(folder)
    except LoragraftError:
        return None


def left_out(config: SeriesConfig, name: str) -> str:
    """Return why an experiment is not run, though nothing is wrong; empty where it is run."""
    engine = config.experiments[name].engine
    key = missing_key(engine)
    if key is None or getattr(engine, "needed", True):
        return ""
    return f"{key} is not set: without a key this experiment is left out."


def ordered(config: SeriesConfig, only: Sequence[str] = ()) -> list[str]:
    """Return the experiments to be run, those that are averages behind what they average.

    Raises:
        InputError: If one is unknown.
    """
    wanted = set(config.experiments)
    if only:
        wanted = {resolved(config, name) for name in only}
    chosen: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise InputError(f"Experiments average one another: {' → '.join((*above, name))}.")
        for part in config.experiments[name].average:
            if part in wanted:
                add(part, (*above, name))
        if name not in chosen:
            chosen.append(name)

    for name in config.experiments:
        if name in wanted:
            add(name, ())
    return chosen


def resolved(config: SeriesConfig, name: str) -> str:
    """Return the experiment that a name or an alias means.

    Raises:
        InputError: If there is none; names those that there are.
    """
    found = config.resolve(name)
    if found is None:
        known = ", ".join((*config.experiments, *config.aliases))
        raise InputError(f"{config.series} has no experiment {name!r}. There are: {known}.")
    return found


def require_complete_before(config: SeriesConfig) -> None:
    """Refuse a series before those that it comes after are complete.

    Raises:
        InputError: Naming what is missing, and the command that makes it.
    """
    for path in config.after:
        before = load_series(path)
        if before.outputs.resolve() / before.series == config.outputs.resolve() / config.series:
            raise InputError(f"{path} is the series {config.series} itself: it cannot be after it.")
        waiting = unfinished(before)
        if waiting:
            raise InputError(
                f"{config.series} runs after {before.series}, of which "
                f"{', '.join(waiting)} {'is' if len(waiting) == 1 else 'are'} not complete. Run "
                f"first: {COMMAND} {path}"
            )


def unfinished(config: SeriesConfig) -> list[str]:
    """Return the experiments without which a series is not complete, and that are not."""
    questions = QuestionFile(config)
    waiting = []
    for name, experiment in config.experiments.items():
        if experiment.optional or left_out(config, name):
            continue
        info = read_run(folder_of(config, name))
        complete = info is not None and info.state == "complete" and info.answered > 0
        if not complete or info.questions != questions.of(experiment.task).digest:  # type: ignore[union-attr]
            waiting.append(name)
    return waiting
