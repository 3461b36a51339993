"""The rules that are shipped: each drops what it is for, and lets the rest through."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.curate.report import Report
from loragraft.dataset.curate.run import curate
from loragraft.dataset.records import Qa, Reply, read_records

CONFIGS = Path(__file__).parents[3] / "configs" / "curation"
Change = Callable[[dict[str, Any]], object]

POST = {
    "id": "100", "text": "Our observatory measured how quickly the northern comet loses its dust.",
    "createdAt": "Wed May 01 12:00:00 +0000 2024", "likeCount": 450, "retweetCount": 25,
    "media": [], "entities": {"urls": []},
    "author": {"id": "7", "userName": "observatory", "followers": 90000},
}  # fmt: skip
REPLY = {
    "id": "200", "inReplyToId": "100", "createdAt": "Wed May 01 13:30:00 +0000 2024",
    "text": "We saw the same loss last winter, but only while the comet turned towards the sun.",
    "likeCount": 40, "retweetCount": 0, "media": [], "entities": {"urls": []},
    "author": {"id": "8", "userName": "night_watch", "followers": 1500},
}  # fmt: skip


def change(part: str, **values: object) -> Change:
    def apply(pair: dict[str, Any]) -> None:
        pair[part].update(values)

    return apply


def followers(count: int) -> Change:
    return change("reply", author={"id": "8", "followers": count})


def said(text: str) -> Change:
    return change("reply", text=text)


BROKEN: list[tuple[str, Change]] = [
    ("post likes", change("post", likeCount=199)),
    ("post likes", change("post", likeCount="2,001")),
    ("post retweets", change("post", retweetCount=9)),
    ("retweet", change("reply", isRetweet=True)),
    ("media", change("post", media=[{"type": "photo"}])),
    ("has urls", change("post", entities={"urls": [{"url": "https://a.example"}]})),
    (
        "urls in text",
        said("We wrote about the same loss of dust at www.a.example/dust"),
    ),
    ("reply likes", change("reply", likeCount=4)),
    ("reply likes", change("reply", likeCount=501)),
    ("followers", followers(199)),
    ("followers", followers(20001)),
    ("time delay", change("reply", createdAt="Wed May 01 12:04:59 +0000 2024")),
    ("time delay", change("reply", createdAt="2024-05-08T12:00:01.000Z")),
    ("reply length", said("Only towards the sun, I saw.")),
    ("reply length", said("We saw the same loss of dust. " * 10)),
    ("unique words", said("The dust, the dust, the dust, and the dust again and again.")),
    (
        "generic phrases",
        said("So true! Thanks for sharing this. Very interesting, I agree"),
    ),
    (
        "crypto and spam",
        said("We saw the same loss, so claim your airdrops before sunrise"),
    ),
    (
        "language",
        said("Wir haben denselben Verlust gesehen, aber nur zur Sonne hin."),
    ),
    ("toxicity", change("reply", toxicity=0.31)),
    ("missing field", change("reply", author={"id": "8"})),
    ("missing field", change("post", createdAt="long ago")),
]


@pytest.fixture
def rules(tmp_path: Path, static_folder: Path) -> Path:
    """The shipped rules for replies with a small embedder."""
    path = tmp_path / "own.yaml"
    base = CONFIGS / "twitter_replies.yaml"
    path.write_text(f"extends: {base}\nprotocol: {{embedder: {static_folder}}}\ntarget: 3\n")
    return path


def run(rules: Path, folder: Path, rows: list[dict[str, Any]]) -> Report:
    raw = folder / "raw.jsonl"
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return curate(rules, raw, folder / "clean.jsonl").report


def dropped(report: Report) -> list[str]:
    return [reason.name for reason in report.reasons for _ in range(reason.dropped)]


def test_each_rule_for_replies_drops_what_it_is_for(rules: Path, tmp_path: Path) -> None:
    rows, expected = [], []
    for number, (name, apply) in enumerate(BROKEN):
        pair = {"post": copy.deepcopy(POST), "reply": copy.deepcopy(REPLY)}
        apply(pair)
        pair["post"]["id"], pair["reply"]["inReplyToId"] = f"1{number}", f"1{number}"
        pair["reply"]["id"] = f"2{number}"
        rows += [pair["reply"], pair["post"]]
        expected.append(name)
    report = run(rules, tmp_path, rows)
    assert sorted(dropped(report)) == sorted(expected)
    for reason in report.reasons:
        shown = {sample.id for sample in reason.samples}
        of_rule = {f"2{n}" for n, (name, _) in enumerate(BROKEN) if name == reason.name}
        assert shown <= of_rule
    assert report.unpaired == {"is no reply": len(BROKEN)}
    assert report.kept == 0


def test_a_good_reply_becomes_a_record_and_is_kept_once(rules: Path, tmp_path: Path) -> None:
    again = {**REPLY, "id": "201", "text": REPLY["text"].upper(), "author": {**REPLY["author"]}}
    again["author"]["id"] = "9"
    unsaid = {**REPLY, "id": "202", "text": "Was the dust lost evenly, or from one side alone?"}
    for row in (post := dict(POST), unsaid):
        del row["media"], row["entities"]
    report = run(rules, tmp_path, [REPLY, post, again, unsaid])
    first, second = read_records(tmp_path / "clean.jsonl")
    assert isinstance(first, Reply)
    assert first == Reply(
        "200", "reply", POST["text"], REPLY["text"], "100", {"post_likes": 450, "reply_likes": 40}
    )
    assert second.id == "202"
    assert dropped(report) == ["exact duplicates"]
    by_name = {reason.name: reason for reason in report.reasons}
    assert by_name["toxicity"].unjudged == 3
    assert by_name["media"].unjudged == 3
    assert report.target == 3


def test_no_author_gets_more_than_ten_replies_in(rules: Path, tmp_path: Path) -> None:
    places = ("harbour", "glacier", "orchard", "quarry", "meadow", "reef", "valley", "island",
              "desert", "forest", "summit", "marsh")  # fmt: skip
    ends = ("before sunrise", "in heavy rain", "with borrowed lenses", "by accident",
            "for eleven nights", "without any funding", "after the storm", "from a small boat",
            "through thin fog", "during the eclipse", "with our students",
            "against all advice")  # fmt: skip
    rows = [POST]
    for number, (place, end) in enumerate(zip(places, ends, strict=True)):
        text = f"Somebody near the {place} recorded number {number} of these dust clouds {end}."
        rows.append({**REPLY, "id": f"3{number}", "text": text})
    own = tmp_path / "loose.yaml"
    own.write_text(f"extends: {rules}\nprotocol: {{semantic_similarity_threshold: 1.0}}\n")
    report = run(own, tmp_path, rows)
    assert (report.kept, dropped(report)) == (10, ["replies per author"] * 2)


QA = {
    "id": "p1-01", "kind": "qa", "task_type": "numeric", "paper_id": "p1",
    "question": "At what temperature does the brindled glass of Orrin Bay begin to soften?",
    "answers": ["412 K", "412 kelvin"], "evidence": ["p1#10-60"],
}  # fmt: skip
QA_BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("question length", {"question": "What softens at it?"}),
    ("unique words", {"question": "Glass or glass or glass or glass or glass?"}),
    ("answers", {"answers": []}),
    ("answer length", {"answers": ["a" * 121]}),
    ("evidence", {"evidence": []}),
    ("missing field", {"evidence": None}),
    ("missing field", {"paper_id": None}),
    ("points elsewhere", {"question": "According to the passage, when does the glass soften?"}),
    ("links", {"answers": ["https://a.example/412"]}),
    ("answer in question", {"answers": ["brindled glass"]}),
    ("yes or no", {"task_type": "yes_no", "answers": ["perhaps"]}),
    ("language", {"question": "Bei welcher Temperatur wird das Glas der Bucht weich?"}),
    ("record", {"kind": "quiz"}),
    ("exact duplicates", {"question": QA["question"].upper()}),
    ("near duplicates", {"question": f"{QA['question'][:-1]}s?"}),
]  # fmt: skip


def test_each_rule_for_questions_drops_what_it_is_for(tmp_path: Path) -> None:
    rows = [QA] + [{**QA, "id": f"x{n}", **broken} for n, (_, broken) in enumerate(QA_BROKEN)]
    asked = "Which softens first in the kiln, the rind or the brindled core?"
    compared = {"task_type": "comparison", "answers": ["the rind"], "question": asked}
    rows.append({**QA, "id": "p1-02", **compared})
    report = run(CONFIGS / "qa.yaml", tmp_path, rows)
    assert sorted(dropped(report)) == sorted(name for name, _ in QA_BROKEN)
    records = list(read_records(tmp_path / "clean.jsonl"))
    assert [record.id for record in records] == ["p1-01", "p1-02"]
    assert isinstance(records[0], Qa)
    assert records[0].evidence == ("p1#10-60",)
