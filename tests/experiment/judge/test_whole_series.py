"""A series judged on its whole way: run, report, again, raters; judge and arms behind endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from loragraft.artifact.jsonl import write_jsonl
from loragraft.cli.main import main
from loragraft.engine.batch.specs import OpenAiSpec
from tests.support.chat_dialects import Said
from tests.support.chat_server import ChatServer, Fault, chat_server
from tests.support.judging import sections, verdict

COUNT = 6
TOKENS = 600


def answer(body: dict[str, Any]) -> Said:
    """Answer as an arm, where the model is one; judge by length, or by the right word."""
    content = body["messages"][-1]["content"]
    if body["model"] != "judge":
        more = " It is well known." if body["model"] == "tuned" else ""
        return Said(f"It is thing {content[-2]}.{more}", prompt_tokens=20)
    found = sections(content)
    if "Answer" in found:
        said = "correct" if "well known" in found["Answer"] else "incorrect"
    else:
        said = "A" if len(found["Answer A"]) > len(found["Answer B"]) else "B"
    return Said(verdict(said), prompt_tokens=TOKENS)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(answer) as found:
        yield found


@pytest.fixture
def config(server: ChatServer, tmp_path: Path) -> Path:
    """Two arms and a judge, all on one server."""
    tasks = [{"kind": "qa", "id": f"q{n}", "task_type": "fact", "question": f"What is number {n}?",
              "answers": [f"thing {n}"]} for n in range(COUNT)]  # fmt: skip
    write_jsonl(tmp_path / "tasks.jsonl", tasks)

    def engine(model: str) -> dict[str, Any]:
        spec = OpenAiSpec(kind="openai", model=model, url=f"{server.url}/v1", key=None, retries=0)
        return spec.model_dump(mode="json")

    values = {
        "series": "small", "data": {"files": ["tasks.jsonl"]}, "outputs": "outputs",
        "experiments": {name: {"engine": engine(name)} for name in ("base", "tuned")},
        "baseline": "base", "judge": {"engine": engine("judge"), "max_tokens": 64},
        "metrics": {"groups": ["factuality"], "factuality": "judge"},
        "monitor": {"stop": False},
    }  # fmt: skip
    path = tmp_path / "series.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def experiment(command: str, config: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["experiment", command, str(config), *map(str, options)])


def asked(server: ChatServer, model: str) -> int:
    return sum(body["model"] == model for _, body, _ in server.requests)


def test_a_run_judges_and_a_second_one_asks_nobody(config: Path, server: ChatServer) -> None:
    result = experiment("run", config, "--json")
    assert result.exit_code == 0, result.output
    [pair] = json.loads(result.stdout)["judged"]
    assert (pair["a"], pair["b"], pair["wins"], pair["judged"]) == ("tuned", "base", COUNT, COUNT)
    assert (pair["win_rate"], pair["disagreement_rate"], pair["first_rate"]) == (1.0, 0.0, 0.5)
    assert asked(server, "judge") == 2 * COUNT + 2 * COUNT
    before = len(server.requests)
    again = experiment("run", config, "--json")
    assert json.loads(again.stdout)["judged"] == [pair]
    report = experiment("report", config)
    assert report.exit_code == 0, report.output
    assert "tuned against base" in report.stdout
    assert "6 / 0 / 0" in report.stdout
    assert len(server.requests) == before
    names = {path.name for path in (config.parent / "outputs" / "small" / "judge").iterdir()}
    assert {"tuned__base.jsonl", "correct.jsonl"} <= names


def test_a_judge_that_fails_on_some_says_how_many_are_missing(
    config: Path, server: ChatServer
) -> None:
    server.faults_for["Answer A"].extend([Fault("garbage")])
    [pair] = json.loads(experiment("run", config, "--json").stdout)["judged"]
    assert (pair["judged"], sum(pair["missing"].values())) == (COUNT - 1, 1)
    assert pair["losses"] == 0
    [mended] = json.loads(experiment("run", config, "--json").stdout)["judged"]
    assert (mended["judged"], mended["missing"]) == (COUNT, {})


def test_a_judge_that_is_away_fails_the_run_and_keeps_the_answers(
    config: Path, server: ChatServer
) -> None:
    away = ["--set", "judge.engine.url=http://127.0.0.1:9/v1", "--set", "metrics.factuality=match"]
    result = experiment("run", config, "--json", *away)
    assert result.exit_code == 1, result.output
    told = json.loads(result.stdout)
    assert "could not be asked" in told["unjudged"]
    assert [arm["state"] for arm in told["experiments"]] == ["done", "done"]
    before = asked(server, "base")
    [pair] = json.loads(experiment("run", config, "--json").stdout)["judged"]
    assert pair["judged"] == COUNT
    assert asked(server, "base") == before


def test_people_compare_what_was_run_and_agree_with_the_judge(config: Path, tmp_path: Path) -> None:
    assert experiment("run", config).exit_code == 0
    result = experiment("human", config, "--export", tmp_path / "anna.csv")
    assert f"{COUNT} pairs of tuned and base" in result.stdout, result.output
    text = (tmp_path / "anna.csv").read_bytes().decode("utf-8-sig")
    filled = []
    for line in text.split("\r\n"):
        choice = "2" if line.endswith('known.”","",""') else "1"
        filled.append(line.replace('”","",""', f'”","{choice}",""'))
    (tmp_path / "anna.csv").write_bytes("\r\n".join(filled).encode())
    result = experiment("human", config, "--import", tmp_path / "anna.csv", "--json")
    [told] = json.loads(result.stdout)["exports"]
    assert (told["majority"]["wins"], told["majority"]["rated"]) == (COUNT, COUNT)
    assert (told["judge"]["rows"], told["judge"]["agreement"]) == (COUNT, 1.0)
