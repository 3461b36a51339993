"""What metrics need beside samples and records, opened when the first one asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from loragraft.artifact.closing import Closing
from loragraft.dataset.records import Qa, TaskRecord
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.metrics.registry import MetricContext

if TYPE_CHECKING:
    from loragraft.embedding.protocol import Embedder
    from loragraft.engine.batch.protocol import BatchEngine
    from loragraft.experiment.arms.retrieval import Retrieval
    from loragraft.experiment.metrics.grounding.support import Claim, Judgement, Support

JUDGE_TOKENS = 4096
"""Context of a judge of claims: a few passages of chunks, an answer, reasons and a verdict."""
OpenJudge = Callable[[int], "BatchEngine"]
"""Opens the engine that judges, with so many tokens of context."""


class Tools(Closing):
    """Supports, gold evidence and the judge of a series. A context manager.

    Nothing is opened before a metric needs it, and everything once.
    """

    def __init__(
        self,
        config: SeriesConfig,
        retrieval: Callable[[], Retrieval] | None = None,
        open_judge: OpenJudge | None = None,
        verdicts: Path | None = None,
    ) -> None:
        """Remember where things come from.

        Args:
            config: Of the series.
            retrieval: Gives the index that all arms share; the caller closes it.
            open_judge: Opens the judge's engine; closed here.
            verdicts: Folder in which verdicts are kept, so that none is asked for twice.
        """
        self.config, self._retrieval = config, retrieval
        self._open_judge, self._verdicts = open_judge, verdicts
        self._stack = ExitStack()
        self._supports: dict[str, Support] = {}
        self._judge: BatchEngine | None = None

    def support(self, way: str) -> Support:
        """Return what decides on claims: overlap, nli or judge.

        Raises:
            InputError: If it is not configured.
            LoragraftError: What opening it refuses.
        """
        if way not in self._supports:
            self._supports[way] = self._opened(way)
        return self._supports[way]

    def gold(self, record: TaskRecord) -> list[str]:
        """Return the texts of a record's gold evidence; none where the series has no index."""
        if self._retrieval is None or self.config.retrieval is None:
            return []
        from loragraft.experiment.gold import gold_texts

        return gold_texts(record, self._retrieval().document)

    def correct(self, answers: Sequence[tuple[Qa, str]]) -> list[tuple[bool | None, str]]:
        """Let the judge say whether answers are correct."""
        from loragraft.experiment.judge.judging import judge_correct
        from loragraft.experiment.judge.prompt import Material

        asked = [
            (Material(record.question, record.answers, tuple(self.gold(record))), text)
            for record, text in answers
        ]
        with ExitStack() as stack:
            book = self._book("correct", stack)
            said = judge_correct(self._engine(), asked, self._settings(), book)
        return [(one.correct, one.reason) for one in said]

    def judging(self) -> Mapping[str, Any]:
        """Return what decides the judge's verdicts."""
        from loragraft.experiment.judge.judging import judging_identity

        return judging_identity(self._engine(), self._settings())

    def close(self) -> None:
        """Close what was opened; twice does no harm."""
        self._stack.close()

    def _opened(self, way: str) -> Support:
        from loragraft.experiment.metrics.grounding.opening import open_support

        nli = self.config.metrics.grounding.nli
        found = open_support(way, nli=nli, embedder=self._embedder, judge=self._judge_support)
        self._stack.callback(found.close)
        return found

    def _embedder(self) -> Embedder | None:
        """Return the embedder of overlap: the one that is named, or the index's; None for none."""
        named = self.config.metrics.grounding.embedder
        if named is not None:
            from loragraft.embedding.opening import open_embedder
            from loragraft.embedding.spec import EmbedderSpec

            found = open_embedder(EmbedderSpec(named))
            self._stack.callback(found.close)
            return found
        if self._retrieval is None or self.config.retrieval is None:
            return None
        return self._retrieval().embedder()

    def _judge_support(self) -> Support:
        from loragraft.experiment.judge.judging import JudgeSupport

        return JudgeSupport(self._engine(), self._settings(), self._book("claims", self._stack))

    def _engine(self) -> BatchEngine:
        if self._judge is None:
            if self._open_judge is None or self.config.judge is None:
                raise InputError(
                    f"The series {self.config.series} has metrics that ask a judge, and names "
                    "none. Add judge.engine, or choose overlap or nli."
                )
            self._judge = self._open_judge(JUDGE_TOKENS)
            self._stack.callback(self._judge.close)
        return self._judge

    def _settings(self) -> Any:  # noqa: ANN401 - experiment.judge.asking.Settings
        from loragraft.experiment.judge.asking import Settings

        judge = self.config.judge
        return Settings() if judge is None else Settings(judge.max_tokens, judge.retries)

    def _book(self, name: str, stack: ExitStack) -> Any:  # noqa: ANN401 - a VerdictBook
        if self._verdicts is None:
            return None
        from loragraft.experiment.judge.book import VerdictBook, judge_key

        key = judge_key(self._engine().identity(), self._settings())
        return stack.enter_context(VerdictBook(self._verdicts / f"{name}.jsonl", key))


class LazySupport:
    """A support that is opened when it is first asked."""

    def __init__(self, way: str, tools: Tools | None) -> None:
        """Remember who opens it; nobody does where metrics are only listed."""
        self._way, self._tools = way, tools

    @property
    def name(self) -> str:
        """How it decides."""
        return self._way

    def identity(self) -> dict[str, Any]:
        """Return what decides a judgement."""
        return self._opened().identity()

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Judge claims."""
        return self._opened().supported(claims)

    def close(self) -> None:
        """Do nothing: what was opened belongs to the tools."""

    def _opened(self) -> Support:
        if self._tools is None:
            raise InputError("Metrics that decide on claims need the series' tools.")
        return self._tools.support(self._way)


def no_tools(*_: object) -> NoReturn:
    """Refuse to compute what is only listed."""
    raise InputError("Metrics that ask a judge need the series' tools.")


def open_context(config: SeriesConfig, name: str, tools: Tools | None = None) -> MetricContext:
    """Return what the metrics of an experiment may need.

    Args:
        config: Of the series.
        name: The experiment's id.
        tools: Of the series; None where metrics are only listed, as for a table.
    """
    experiment, retrieval = config.experiments[name], config.retrieval
    return MetricContext(
        retrieval=experiment.retrieval and not experiment.stuffed,
        stuffed=experiment.stuffed,
        passages=retrieval.passages if retrieval is not None else 0,
        probabilities=getattr(experiment.engine, "kind", "") in ("llama", "transformers"),
        judge=config.judge is not None,
        tools=tools,
    )
