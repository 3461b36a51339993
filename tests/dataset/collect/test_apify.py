"""Collection from Apify: pages, targets, costs, waiting, and what goes wrong on the way."""

from __future__ import annotations

import json
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from loragraft.adapter.fetch.retry import Retry
from loragraft.artifact.secret import Secret
from loragraft.dataset.collect import apify as room
from loragraft.dataset.collect.apify import collect_apify, stop_run
from loragraft.dataset.collect.request import ApifyRequest, Pace
from loragraft.dataset.collect.store import state_path
from loragraft.errors import InputError, LockedError, UnavailableError
from tests.support.apify_server import ACTOR, KEY, ApifyServer, error, tweets
from tests.support.collecting import INPUT, Notes, collect, fast, rows


def test_all_items_arrive_once_in_order_while_the_run_goes_on(
    apify: ApifyServer, out: Path
) -> None:
    apify.items, apify.options = [*tweets(12), *tweets(3), {}, {"noResults": True}], {"step": 4}
    progress = Notes()
    report = collect(apify.url, out, progress=progress)
    assert rows(out) == tweets(12)
    assert (report.records, report.again, report.empty, report.new) == (12, 3, 2, 12)
    assert report.ok
    assert report.ended == "SUCCEEDED"
    assert progress.done == 12
    assert json.loads(json.dumps(report.to_json()))["records"] == 12
    assert apify.runs[0].given == {**INPUT, "proxy": {"useApifyProxy": True}}


def test_items_without_ids_are_told_apart_by_all_they_hold(apify: ApifyServer, out: Path) -> None:
    apify.items = [{"a": 1}, {"a": 2}, {"a": 1}, "no object", {"a": "half \ud83d"}, [1]]
    report = collect(apify.url, out)
    assert rows(out) == [{"a": 1}, {"a": 2}, {"a": "half \ufffd"}]
    assert (report.again, report.empty) == (1, 2)


def test_the_target_stops_the_run(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.options = tweets(40), {"step": 6}
    report = collect(apify.url, out, target=13)
    assert rows(out) == tweets(13)
    assert report.ended == "target reached"
    assert report.ok
    assert apify.runs[0].aborted
    assert report.runs[0]["status"] == "ABORTED"


def test_a_higher_target_goes_on_in_what_the_run_found(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.options = tweets(40), {"step": 9}
    collect(apify.url, out, target=7)
    again = collect(apify.url, out, target=7, resume=True)
    assert (again.new, again.records) == (0, 7)
    report = collect(apify.url, out, target=9, resume=True)
    assert (report.new, report.records) == (2, 9)
    assert rows(out) == tweets(9)
    assert len(apify.runs) == 1


def test_another_run_adds_what_is_new(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(6)
    collect(apify.url, out)
    apify.items = tweets(6, first=4)
    done = collect(apify.url, out, resume=True)
    assert (done.new, len(apify.runs)) == (0, 1)
    report = collect(apify.url, out, add=True, run_input={"searchTerms": ["reef"]})
    assert (report.new, report.again, report.records) == (3, 3, 9)
    assert rows(out) == tweets(9)
    assert [run["id"] for run in report.runs] == ["run1", "run2"]


def test_a_run_that_is_there_is_read_and_none_started(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(8)
    apify.start({}, {})
    report = collect(apify.url, out, actor=None, run_input={}, run_id="run1")
    assert (report.records, apify.count("POST", "")) == (8, 0)
    with pytest.raises(InputError, match="Apify knows no run 'run9'"):
        collect(apify.url, out.with_name("b.jsonl"), actor=None, run_input={}, run_id="run9")
    assert sorted(p.name for p in out.parent.iterdir() if p.suffix != ".lock") == [
        "raw.jsonl",
        "raw.jsonl.collect",
    ]


@pytest.mark.parametrize("end", ["FAILED", "TIMED-OUT", "ABORTED"])
def test_a_run_that_fails_is_told_and_what_it_found_is_kept(
    apify: ApifyServer, out: Path, end: str
) -> None:
    apify.items, apify.options = tweets(7), {"step": 5, "end": end, "message": "No more proxies"}
    report = collect(apify.url, out)
    assert rows(out) == tweets(7)
    assert not report.ok
    assert report.ended == end
    assert report.runs[0]["message"] == "No more proxies"


def test_what_a_finished_run_lists_late_is_waited_for(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.options = tweets(7), {"lag": 5}
    assert collect(apify.url, out).records == 7


def test_what_is_there_is_neither_overwritten_nor_mixed(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(5)
    out.write_text("mine\n")
    with pytest.raises(InputError, match=r"raw.jsonl is there already"):
        collect(apify.url, out, resume=True)
    assert out.read_text() == "mine\n"
    collect(apify.url, out, replace=True)
    assert rows(out) == tweets(5)
    with pytest.raises(InputError, match="Give --resume to go on"):
        collect(apify.url, out)
    with pytest.raises(InputError, match="has another input"):
        collect(apify.url, out, resume=True, run_input={"searchTerms": ["other"]})
    out.write_bytes(out.read_bytes()[:-5])
    with pytest.raises(InputError, match="moved or changed"):
        collect(apify.url, out, resume=True)


def test_two_at_once_are_refused(apify: ApifyServer, out: Path) -> None:
    from loragraft.artifact.lock import hold_lock

    with hold_lock(out.with_name(".raw.jsonl.lock")), pytest.raises(LockedError):
        collect(apify.url, out)


# --- waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/actors/", "/actor-runs/", "/items", "/runs"])
def test_what_fails_for_a_moment_is_tried_again(apify: ApifyServer, out: Path, path: str) -> None:
    apify.items = tweets(7)
    apify.fail((429, {}), path=path)
    if path != "/runs":
        apify.fail((503, {}), (500, {}), path=path)
    progress = Notes()
    assert collect(apify.url, out, progress=progress).records == 7
    assert len(apify.runs) == 1
    assert any("answers 429" in note for note in progress.notes)


def waits(apify: ApifyServer, out: Path, header: str) -> list[float]:
    apify.items, slept = tweets(2), []
    apify.fail((429, {"Retry-After": header}), path="/items")
    pace = Pace(poll=0, settle=0, retry=Retry(3, 0.5, 60.0, sleep=slept.append))
    request = ApifyRequest(out, ACTOR, INPUT)
    collect_apify(request, Secret(KEY), agree=lambda a, c: True, url=apify.url, pace=pace)
    return slept


def test_retry_after_is_honoured_in_seconds_and_as_a_date(apify: ApifyServer, out: Path) -> None:
    assert waits(apify, out, "90") == [90.0]
    date = formatdate(time() + 300, usegmt=True)
    (slept,) = waits(apify, out.with_name("b.jsonl"), date)
    assert 200 < slept <= 301
    (slept,) = waits(apify, out.with_name("c.jsonl"), "soon")
    assert 0.3 < slept < 0.7


def test_whoever_asks_to_wait_for_hours_is_not_waited_for(apify: ApifyServer, out: Path) -> None:
    with pytest.raises(UnavailableError, match=r"asks to come back in 86400 s.*--resume"):
        waits(apify, out, "86400")
    assert collect(apify.url, out, resume=True).records == 2


def test_what_fails_for_good_is_told_and_what_arrived_is_kept(
    apify: ApifyServer, out: Path
) -> None:
    apify.items = tweets(12)

    def down(request: Any) -> Any:  # noqa: ANN401
        last = request.path.endswith("/items") and request.query["offset"] == "10"
        return (502, {}, b"<html>Bad gateway</html>") if last else None

    apify.hooks.append(down)
    with pytest.raises(UnavailableError, match=r"answers 502 again and again.*--resume"):
        collect(apify.url, out)
    assert not out.exists()
    assert rows(out.with_name("raw.jsonl.part")) == tweets(10)
    apify.hooks.clear()
    assert collect(apify.url, out, resume=True).new == 2
    assert rows(out) == tweets(12)


def test_a_start_that_nobody_answered_is_looked_for_before_another(
    apify: ApifyServer, out: Path
) -> None:
    apify.items = tweets(3)
    apify.start({"searchTerms": ["another"]}, {})  # an older run, not ours

    def lose(request: Any) -> Any:  # noqa: ANN401
        if request.method == "POST" and request.path.endswith("/runs") and len(apify.runs) == 1:
            apify.start({"searchTerms": ["not ours, begun meanwhile"]}, {})
            apify.start(json.loads(request.body), request.query)
            return 0, {}, b""
        return None

    apify.hooks.append(lose)
    report = collect(apify.url, out)
    assert report.runs[0]["id"] == "run3"
    assert len(apify.runs) == 3


def test_a_start_that_failed_is_made_anew_by_resuming(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(3)
    apify.fail((500, {}), path="/runs")  # the list of runs, and this is no start
    apify.hooks.append(lambda r: (503, {}, error("x", "down")) if r.method == "POST" else None)
    with pytest.raises(UnavailableError):
        collect(apify.url, out)
    assert apify.count("POST", "/runs") == 1
    with pytest.raises(InputError, match="may have been started and could not be noted"):
        stop_run(out, Secret(KEY), url=apify.url)
    apify.hooks.clear()
    assert collect(apify.url, out, resume=True).records == 3
    assert len(apify.runs) == 1


def test_an_input_that_is_refused_can_be_mended(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(3)
    refuse = (400, {}, error("invalid-input", "Input is not valid: searchTerms"))
    apify.hooks.append(lambda r: refuse if r.method == "POST" else None)
    with pytest.raises(InputError, match="400: Input is not valid: searchTerms"):
        collect(apify.url, out)
    assert not state_path(out).exists()
    apify.hooks.clear()
    assert collect(apify.url, out, run_input={"searchTerms": ["better"]}).records == 3


# --- answers that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, UnavailableError, "refuses the key of APIFY_TOKEN"),
        (402, UnavailableError, "See your plan"),
        (403, UnavailableError, "what the key may do"),
        (400, InputError, "Check the actor and its input"),
        (307, InputError, "refuses this with 307"),
    ],
)
def test_refusals_say_what_to_do(
    apify: ApifyServer, out: Path, status: int, kind: type[Exception], words: str
) -> None:
    apify.hooks.append(lambda r: (status, {"Location": "/v2/x"}, error("no", "Not like this")))
    with pytest.raises(kind, match=words):
        collect(apify.url, out)
    assert len(apify.requests) == 1


@pytest.mark.parametrize("body", [b"not json", b"[1, 2]", b'{"data": {"id": 1}}', b"{}", b""])
@pytest.mark.parametrize("path", ["/actors/", "/actor-runs/", "/items", "/runs"])
def test_other_answers_than_apifys_are_told(
    apify: ApifyServer, out: Path, path: str, body: bytes
) -> None:
    apify.items = tweets(3)
    apify.hooks.append(lambda r: (200, {}, body) if path in r.path else None)
    with pytest.raises(UnavailableError, match="otherwise than apify-client expects"):
        collect(apify.url, out)


def test_a_server_that_ignores_the_offset_is_refused(apify: ApifyServer, out: Path) -> None:
    headers = {f"x-apify-pagination-{n}": "0" for n in ("total", "offset", "count", "limit")}
    headers["x-apify-pagination-desc"] = "false"
    apify.items = tweets(3)
    apify.hooks.append(lambda r: (200, headers, tweets(3)) if r.path.endswith("/items") else None)
    with pytest.raises(UnavailableError, match="asked for 5 items from 3 on"):
        collect(apify.url, out)


def test_data_that_apify_deleted_are_told(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(3)
    gone = (404, {}, error("record-not-found", "Dataset was not found"))
    apify.hooks.append(lambda r: gone if r.path.endswith("/items") else None)
    with pytest.raises(UnavailableError, match=r"are gone from Apify.*--add"):
        collect(apify.url, out)


def test_an_unknown_actor_or_folder_is_told(apify: ApifyServer, out: Path) -> None:
    with pytest.raises(InputError, match="Apify knows no actor 'harbour/none'"):
        collect(apify.url, out, actor="harbour/none")
    with pytest.raises(InputError, match=r"does not exist. Make it"):
        collect(apify.url, out.parent / "none" / "raw.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        collect(apify.url, out.parent)


@pytest.mark.parametrize("name", ["a b/c", "..", "a/../b", "a/b/c", "../runs?x", "ä/b", "a/"])
def test_a_name_that_would_lead_elsewhere_is_refused(
    apify: ApifyServer, out: Path, name: str
) -> None:
    with pytest.raises(InputError, match="is no actor's name"):
        collect(apify.url, out, actor=name)
    with pytest.raises(InputError, match="is no run's id"):
        collect(apify.url, out, actor=None, run_input={}, run_id=name)
    assert apify.requests == []


def test_numbers_that_json_lacks_become_null(apify: ApifyServer, out: Path) -> None:
    apify.items = [{"id": 1, "a": [float("nan")], "b": {"c": float("inf")}}]
    collect(apify.url, out)
    assert rows(out) == [{"id": 1, "a": [None], "b": {"c": None}}]


def test_answers_nested_without_end_are_told(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(1)
    deep = b"[" * 100_000 + b"]" * 100_000
    apify.hooks.append(lambda r: (200, {}, deep) if r.path.endswith("/items") else None)
    with pytest.raises(UnavailableError, match="otherwise than apify-client expects"):
        collect(apify.url, out)


def test_what_is_counted_and_never_listed_is_told(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.options = tweets(7), {"lag": 99}
    progress = Notes()
    assert collect(apify.url, out, progress=progress).records == 0
    assert "Apify counts 7 items and lists 0" in progress.notes[0]


def test_a_name_that_no_file_can_have_is_told(apify: ApifyServer, out: Path) -> None:
    with pytest.raises(InputError, match="Nothing can be written to"):
        collect(apify.url, out.with_name("x" * 400))


def test_nobody_there_is_told(out: Path) -> None:
    with pytest.raises(UnavailableError, match="Apify cannot be reached: ConnectError") as caught:
        collect("http://127.0.0.1:9", out)
    assert "refused" in str(caught.value)
    assert "{" not in str(caught.value)
    assert fast().retry.attempts == 4
    assert room.collect_apify is collect_apify
