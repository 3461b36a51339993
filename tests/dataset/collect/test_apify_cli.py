"""``loragraft dataset collect`` as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.dataset_collect import collect
from loragraft.dataset.collect import request
from loragraft.errors import LoragraftError
from tests.support.apify_server import ACTOR, KEY, ApifyServer, price, tweets
from tests.support.collecting import rows

Run = Callable[..., Result]
PER_RESULT = price("PRICE_PER_DATASET_ITEM", unitName="tweet", pricePerUnitUsd=0.0004)
RULES = "protocol: {search_queries: [tides], min_likes: 200, actor: harbour/tweet-scraper}"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(request, "SETTLE_SECONDS", 0.01)


@pytest.fixture
def run(apify: ApifyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in the temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APIFY_TOKEN", KEY)
    monkeypatch.setenv("APIFY_API_BASE_URL", apify.url)
    apify.items = tweets(12)

    def invoke(*arguments: str, **more: str) -> Result:
        result = CliRunner().invoke(collect, ["apify", *arguments], **more)
        assert KEY not in result.output + str(result.exception)
        return result

    return invoke


def test_the_issues_own_command(run: Run, apify: ApifyServer, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"searchTerms": ["tides"]}')
    apify.prices = [PER_RESULT]
    line = ["-o", "raw.jsonl", "--actor", ACTOR, "--input", "input.json", "--target", "7"]
    result = run(*line, "--resume")
    assert result.exit_code == 0, result.output
    assert rows(tmp_path / "raw.jsonl") == tweets(7)
    assert "7 results cost $0.0028. $0.40 for 1,000 tweets." in result.stderr
    assert "7 records, 7 of them new: target reached" in result.stdout
    again = run(*line, "--resume", "--json")
    assert json.loads(again.stdout)["new"] == 0
    assert len(apify.runs) == 1


def test_a_protocol_says_what_to_look_for(run: Run, apify: ApifyServer, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    plan = run("-o", "raw.jsonl", "--from-config", "rules.yaml", "--dry-run", "--json",
               "--input", '{"cookies": "mine", "sort": null}', "--target", "50")  # fmt: skip
    report = json.loads(plan.stdout)
    assert report["input"] == {
        "searchTerms": ["tides min_faves:200 -filter:replies"],
        "maxItems": 50,
        "cookies": "[hidden]",
    }
    assert report["cost"]["model"] == "FREE"
    assert apify.runs == []
    shown = run("-o", "raw.jsonl", "--from-config", "rules.yaml", "--dry-run")
    assert "1,000 results cost unknown" in shown.stdout
    assert '"tides min_faves:200 -filter:replies"' in shown.stdout


def test_a_plan_tells_what_it_waits_for_at_once(run: Run, apify: ApifyServer) -> None:
    apify.fail((429, {}), (403, {}), path="/actors/")
    plan = run("-o", "raw.jsonl", "--actor", ACTOR, "--input", "{}", "--dry-run")
    assert isinstance(plan.exception, LoragraftError)
    assert "answers 429" in plan.stderr


def test_replies_to_what_was_collected_are_added(
    run: Run, apify: ApifyServer, tmp_path: Path
) -> None:
    run("-o", "raw.jsonl", "--actor", ACTOR, "--target", "2")
    apify.items = tweets(1, first=90)
    result = run("-o", "raw.jsonl", "--actor", ACTOR, "--replies-of", "raw.jsonl", "--add")
    assert result.exit_code == 0, result.output
    terms = [f"conversation_id:{one['id']} filter:replies" for one in tweets(2)]
    assert apify.runs[1].given["searchTerms"] == terms
    assert len(rows(tmp_path / "raw.jsonl")) == 3


def test_a_failed_run_exits_with_1_and_shows_why(
    run: Run, apify: ApifyServer, tmp_path: Path
) -> None:
    apify.options = {"end": "FAILED", "message": "No proxies \x1b[31m left", "usd": 0.01}
    result = run("-o", "raw.jsonl", "--actor", ACTOR)
    assert result.exit_code == 1
    assert "12 records, 12 of them new: FAILED" in result.stdout
    assert "No proxies ␛[31m left" in result.stdout
    assert "$0.1200" in result.stdout
    assert len(rows(tmp_path / "raw.jsonl")) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "--replace", "--actor", "a/b"], "give one"),
        (["--run", "r", "--actor", "a/b"], "do not belong to it"),
        ([], "Say with --actor"),
        (["--actor", "a/b", "--target", "0"], "0 is not in the range"),
        (["--actor", "a/b", "--max-cost", "0"], "not in the range"),
    ],
)
def test_usage_is_checked_before_anything_is_asked(
    run: Run,
    apify: ApifyServer,
    arguments: list[str],
    words: str,
) -> None:
    result = run("-o", "raw.jsonl", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert apify.requests == []


def test_without_a_key_nothing_is_asked(
    run: Run,
    apify: ApifyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("APIFY_TOKEN")
    result = run("-o", "raw.jsonl", "--actor", ACTOR)
    assert isinstance(result.exception, LoragraftError)
    assert "APIFY_TOKEN is not set" in str(result.exception)
    assert apify.requests == []


def test_ctrl_c_says_how_to_go_on_and_how_to_stop(
    run: Run,
    apify: ApifyServer,
    tmp_path: Path,
) -> None:
    apify.options = {"step": 3}
    line = ["dataset", "collect", "apify", "-o", "raw.jsonl", "--actor", ACTOR]
    process = subprocess.Popen(
        [sys.executable, "-m", "loragraft", *line], stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, env={**os.environ, "APIFY_TOKEN": KEY},
    )  # fmt: skip

    def stop(asked: object) -> None:
        if apify.count("GET", "/items") == 2:
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)  # the signal shall arrive before the answer

    apify.before_send.append(stop)
    _, errors = process.communicate(timeout=120)
    apify.before_send.clear()
    assert process.returncode == 130
    assert "the same command with --resume goes on" in errors
    assert KEY not in errors
    assert rows(tmp_path / "raw.jsonl.part") == tweets(3)
    stopped = run("-o", "raw.jsonl", "--stop", "--json")
    assert json.loads(stopped.stdout) == {"run": "run1", "status": "ABORTED", "usd": None}
    result = run("-o", "raw.jsonl", "--actor", ACTOR, "--resume")
    assert result.exit_code == 1  # it was aborted
    assert rows(tmp_path / "raw.jsonl") == tweets(apify.runs[0].visible)


def test_help_needs_no_client() -> None:
    code = (
        "import sys; from click.testing import CliRunner\n"
        "from loragraft.cli.dataset_collect import collect\n"
        "assert 'Apify' in CliRunner().invoke(collect, ['--help']).output\n"
        "assert 'APIFY_TOKEN' in CliRunner().invoke(collect, ['apify', '--help']).output\n"
        "heavy = {'apify_client', 'twscrape', 'impit', 'pydantic', 'httpx', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
