"""The shipped reply series: two experiments, judged in pairs, promoted by the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.artifact.jsonl import write_jsonl
from loragraft.engine.batch.protocol import Job
from loragraft.experiment.analysis.gather import analyse
from loragraft.experiment.analysis.model import Analysis, Verdict
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.arms.opening import Shared
from loragraft.experiment.config import SeriesConfig, load_series
from loragraft.experiment.facts import facts_of
from loragraft.experiment.judge.series import judge_series
from loragraft.experiment.judged import samples_of
from loragraft.experiment.key import asked_of, digest
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.records import Sample
from loragraft.experiment.run_info import RunInfo
from loragraft.experiment.store import RunStore
from loragraft.experiment.verdict.judge_points import INFO, judge_points
from tests.support.judging import RuleJudge, sections, verdict
from tests.support.sources import ROOT
from tests.support.verdicts import condition

POSTS = 60
TUNED, PLAIN = "lora_replies_7b", "replies_plain_7b"


def prefers_better(job: Job) -> str:
    """Judge by the word that each reply was given."""
    found = sections(job.messages[-1]["content"])
    answers = [text for name, text in found.items() if name in ("Reply A", "Reply B")]
    first, second = ("better" in text for text in answers)
    return verdict("tie" if first == second else "A" if first else "B")


def run(folder: Path, wins: int, losses: int, limit: int | None = None) -> SeriesConfig:
    """Write a series in which the tuned model wins so many posts, and let it be judged."""
    rows = [{"kind": "reply", "id": f"r{n:03d}", "task_type": "reply",
             "prompt": f"What do you say to post {n}?", "reply": "Well said."}
            for n in range(POSTS)]  # fmt: skip
    write_jsonl(folder / "posts.jsonl", rows)
    offline = "{kind: openai, url: 'http://127.0.0.1:9/v1', key: null, model: m}"
    config = load_series(ROOT / "configs" / "replies.yaml", [
        f"data.files=['{folder / 'posts.jsonl'}']", "data.tag=null", f"outputs={folder}",
        *(f"experiments.{name}.engine={offline}" for name in (TUNED, PLAIN)),
        f"judge.engine={offline}", f"judge.limit={limit or 'null'}",
    ])  # fmt: skip
    file = QuestionFile(config)
    for name, first, stop in ((TUNED, 0, wins), (PLAIN, wins, wins + losses)):
        write(config, name, file, range(first, stop))
    judge_series(config, file.all, lambda name: samples_of(config, file, name),
                 lambda needed: RuleJudge(prefers_better))  # fmt: skip
    return config


def write(config: SeriesConfig, name: str, file: QuestionFile, better: range) -> None:
    """Write a run of the experiment, with better replies to some posts."""
    questions = file.of("reply")
    info = RunInfo(
        series=config.series, experiment=name, task="reply", size=config.size, key=digest(name),
        inputs={}, asked=digest(asked_of(config, name)), facts=facts_of(config, name),
        source=questions.source, questions=questions.digest, total=POSTS, repeats=1,
        retrieves=False, optional=False, monitor={},
    )  # fmt: skip
    with RunStore(folder_of(config, name), info) as store:
        for number, record in enumerate(questions.records):
            text = f"A {'better' if number in better else 'plain'} reply of {name}."
            store.add(
                Sample(name, record.id, 0, "reply", None, number, (), "ok", raw=text, answer=text),
                questions.digests[record.id],
            )
        store.tell(state="complete", counts={"ok": POSTS}, samples=store.finish())


def analysed(config: SeriesConfig) -> Analysis:
    with Shared(config) as shared:
        return analyse(config, shared)


def decided(analysis: Analysis) -> Verdict:
    assert analysis.verdicts[0].decision == "not a candidate"
    return analysis.verdicts[1]


def test_points_are_wins_and_halves(tmp_path: Path) -> None:
    config = run(tmp_path, wins=3, losses=2)
    mine, theirs, asked = judge_points(config, QuestionFile(config), TUNED)
    assert asked == POSTS
    assert (len(mine), sum(mine.values())) == (POSTS, 3 + (POSTS - 5) / 2)
    assert all(mine[name] + theirs[name] == 1 for name in mine)
    without = config.model_copy(update={"judge": None})
    assert judge_points(without, QuestionFile(without), TUNED) == ({}, {}, 0)


@pytest.mark.parametrize(
    ("wins", "losses", "decision"), [(40, 5, "promote"), (5, 40, "reject"), (13, 10, "undecided")]
)
def test_the_protocol_decides(tmp_path: Path, wins: int, losses: int, decision: str) -> None:
    analysis = analysed(run(tmp_path, wins, losses))
    found = decided(analysis)
    assert found.decision == decision, found.sentence
    (gain,) = [one for one in analysis.comparisons if one.family == "gating"]
    assert gain.metric == INFO.name
    assert gain.difference == pytest.approx((wins - losses) / POSTS)
    assert (gain.count, gain.excluded) == (POSTS, 0)
    relative = gain.difference / gain.baseline_value
    assert condition(found, "relative improvement").measured == f"{relative:+.1%}"


def test_posts_that_no_judge_was_shown_are_not_missing(tmp_path: Path) -> None:
    analysis = analysed(run(tmp_path, 50, 5, limit=40))
    (gain,) = [one for one in analysis.comparisons if one.family == "gating"]
    assert (gain.count, gain.excluded) == (40, 0)
    assert decided(analysis).decision == "promote"
