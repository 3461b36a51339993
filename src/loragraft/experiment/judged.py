"""The judge of a series, put to work on what its experiments have answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress, Silent
from loragraft.engine.batch.opening import missing_key
from loragraft.errors import UnavailableError
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.facts import engine_facts
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.records import Sample
from loragraft.experiment.store import read_samples

if TYPE_CHECKING:
    from loragraft.engine.batch.protocol import BatchEngine
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.judge.series import Gold, PairResult
    from loragraft.experiment.metrics.opening import Tools


def judge_arms(
    config: SeriesConfig,
    file: QuestionFile,
    shared: Callable[[], Shared],
    progress: Progress | None = None,
) -> list[PairResult]:
    """Judge the pairs of a series, as far as they have not been judged before.

    Raises:
        UnavailableError: If the judge's key is missing.
        LoragraftError: If the judge can answer nothing at all; its verdicts so far are kept.
    """
    from loragraft.experiment.judge.series import judge_series

    assert config.judge is not None
    return judge_series(
        config,
        file.all,
        lambda name: samples_of(config, file, name),
        lambda needed: open_judge(config, needed),
        gold=_gold(config, shared),
        facts=engine_facts(config.judge.engine),
        progress=progress or Silent(),
    )


def open_judge(config: SeriesConfig, needed: int) -> BatchEngine:
    """Open the engine that judges, with so many tokens of context.

    Raises:
        UnavailableError: If its key is missing.
        LoragraftError: If it cannot be opened.
    """
    from loragraft.experiment.open_arm import open_arm_engine

    assert config.judge is not None
    key = missing_key(config.judge.engine)
    if key is not None:
        raise UnavailableError(
            f"{key} is not set, and the judge needs it. Set it, or leave the judge out with --set "
            "judge=null."
        )
    return open_arm_engine(config.judge.engine, context_needed=needed)


def open_tools(config: SeriesConfig, shared: Callable[[], Shared]) -> Tools:
    """Return what metrics may need; nothing is opened before one asks for it."""
    from loragraft.experiment.judge.series import FOLDER
    from loragraft.experiment.metrics.opening import Tools

    return Tools(
        config,
        retrieval=lambda: shared().retrieval,
        open_judge=lambda needed: open_judge(config, needed),
        verdicts=config.outputs / config.series / FOLDER,
    )


def judged(config: SeriesConfig, file: QuestionFile) -> list[PairResult]:
    """Return what the judge has said so far; nobody is asked.

    Raises:
        InputError: If a file of verdicts cannot be read.
    """
    from loragraft.experiment.judge.series import judged_series

    return judged_series(config, file.all, lambda name: samples_of(config, file, name))


def samples_of(config: SeriesConfig, file: QuestionFile, name: str) -> Iterator[Sample]:
    """Yield an experiment's samples of the questions of the series, in their order."""
    questions = file.of(config.experiments[name].task)
    there = read_samples(folder_of(config, name))
    for sample in sorted(there.values(), key=lambda sample: sample.key):
        if questions.digests.get(sample.question_id) == sample.record:
            yield sample


def _gold(config: SeriesConfig, shared: Callable[[], Shared]) -> Gold | None:
    """Return where texts of gold evidence come from; None where the series has no index."""
    from loragraft.experiment.gold import gold_texts
    from loragraft.experiment.judge.series import Gold

    if config.retrieval is None:
        return None
    retrieval = shared().retrieval
    return Gold(lambda record: gold_texts(record, retrieval.document), retrieval.identity)
