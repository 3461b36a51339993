"""Searches at a Hub and a Kaggle of ours, through the real clients."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from loragraft.adapter.candidate import Candidate, describe_base, ordered, shorten
from loragraft.adapter.search import search
from loragraft.errors import InputError
from tests.adapter.fetch.hub_server import hub_environment
from tests.adapter.fetch.kaggle_server import Kaggle, kaggle_environment
from tests.adapter.fetch.server import FileServer, Handler, Request, serving

PROGRAM = """
import json, sys
from loragraft.adapter.search import search
from loragraft.errors import LoragraftError
try:
    print(json.dumps([c.to_json() for c in search(*json.loads(sys.argv[1]))]))
except LoragraftError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


def run(environment: dict[str, str], *arguments: object) -> Any:  # noqa: ANN401 - JSON
    """Search in a process of its own: the clients read their settings when imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments)],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def server() -> Any:  # noqa: ANN401 - a generator
    """A server on this machine."""
    with serving() as running:
        yield running


class ListedHub:
    """Answers lists of models and datasets, and remembers what was asked."""

    def __init__(self, server: FileServer, found: list[dict[str, Any]]) -> None:
        """Serve the finds; an author's own list has three further names."""
        self.found, self.status = found, 200
        self.asked: list[dict[str, list[str]]] = []
        server.routes["/api/"] = self._list

    def _list(self, handler: Handler, request: Request) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        self.asked.append(query)
        if self.status != 200:
            handler.answer_json({"error": "busy"}, request, self.status)
        elif "author" in query:
            names = [f"{query['author'][0]}/other-{n}" for n in range(3)]
            handler.answer_json([{"id": name, "_id": "1"} for name in names], request)
        else:
            handler.answer_json(self.found, request)


def listed(name: str, day: int, **more: object) -> dict[str, Any]:
    """Return a find as the Hub lists it."""
    return {
        "_id": "1", "id": name, "author": name.partition("/")[0], "downloads": 5, "likes": 2,
        "lastModified": f"2025-01-{day:02}T00:00:00.000Z", "usedStorage": 1000, "gated": False,
        "tags": ["peft", "lora", "region:us"], **more,
    }  # fmt: skip


def test_models_of_the_hub(server: FileServer, tmp_path: Path) -> None:
    hub = ListedHub(server, [
        listed("me/Qwen2.5-1.5B-reddit-lora", 3, library_name="peft",
               tags=["lora", "base_model:adapter:Qwen/Qwen2.5-1.5B", "region:us"]),
        listed("you/reddit-4b-think", 9, gated="manual", cardData={"base_model": ["Qwen/Q3"]}),
    ])  # fmt: skip
    found = run(hub_environment(server.url, tmp_path), "reddit", "hf", "model", "updated", 7)
    assert [c["id"] for c in found] == ["you/reddit-4b-think", "me/Qwen2.5-1.5B-reddit-lora"]
    newer, older = found
    assert older["fetch"] == "hf:me/Qwen2.5-1.5B-reddit-lora"
    assert older["url"] == f"{server.url}/me/Qwen2.5-1.5B-reddit-lora"
    assert (older["bytes"], older["downloads"], older["votes"]) == (1000, 5, 2)
    assert older["updated"] == "2025-01-03T00:00:00+00:00"
    assert older["name_says"] == "Qwen2.5-1.5B (hidden 1536, 28 layers)"
    assert older["claimed_base"] == "Qwen/Qwen2.5-1.5B"
    assert older["description"] == "peft, lora"
    assert older["others"] == ["me/other-0", "me/other-1", "me/other-2"]
    assert (newer["gated"], newer["claimed_base"]) == (True, "Qwen/Q3")
    assert hub.asked[0]["search"] == ["reddit"]
    assert hub.asked[0]["sort"] == ["lastModified"]
    assert hub.asked[0]["limit"] == ["7"]
    assert {query["author"][0] for query in hub.asked[1:]} == {"me", "you"}


def test_datasets_of_the_hub(server: FileServer, tmp_path: Path) -> None:
    hub = ListedHub(server, [listed("me/loras", 3, description="Two\n\tadapters  here")])
    found = run(hub_environment(server.url, tmp_path), "lora", "hf", "dataset", "votes", 5)
    assert found[0]["fetch"] == "hf:datasets/me/loras"
    assert found[0]["description"] == "Two adapters here"
    assert hub.asked[0]["sort"] == ["likes"]


def test_the_hub_refuses_or_is_not_to_be_asked(server: FileServer, tmp_path: Path) -> None:
    hub = ListedHub(server, [])
    hub.status = 403
    refused = run(hub_environment(server.url, tmp_path), "lora")
    assert refused["error"] == "UnavailableError"
    asked = len(hub.asked)
    offline = run(hub_environment(server.url, tmp_path, HF_HUB_OFFLINE="1"), "lora")
    assert offline["error"] == "UnavailableError"
    assert "could not be searched for 'lora'" in offline["message"]
    assert len(hub.asked) == asked


@pytest.mark.slow  # the Hub's client tries again for half a minute
def test_no_hub_at_all(tmp_path: Path) -> None:
    absent = run(hub_environment("http://127.0.0.1:9", tmp_path), "lora")
    assert absent["error"] == "UnavailableError"
    assert "could not be searched for 'lora'" in absent["message"]


DATASET = {"ref": "me/reddit-4b", "title": "Qwen3-4B reddit LoRA", "subtitle": "An adapter",
           "ownerName": "Me", "totalBytes": 5000, "lastUpdated": "2025-03-04T05:06:07Z",
           "downloadCount": 11, "voteCount": 4}  # fmt: skip


def test_datasets_of_kaggle(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, b"")
    kaggle.lists["ListDatasets"] = [DATASET, {**DATASET, "ref": "me/b", "downloadCount": 20}]
    found = run(kaggle_environment(server, tmp_path), "r", "kaggle", "dataset", "downloads", 9)
    assert [c["id"] for c in found] == ["me/b", "me/reddit-4b"]
    assert found[1] == {
        "source": "kaggle", "kind": "dataset", "id": "me/reddit-4b",
        "fetch": "kaggle:me/reddit-4b", "url": "https://www.kaggle.com/datasets/me/reddit-4b",
        "title": "Qwen3-4B reddit LoRA", "author": "Me", "bytes": 5000,
        "updated": "2025-03-04T05:06:07+00:00", "downloads": 11, "votes": 4,
        "description": "An adapter", "name_says": "Qwen3-4B (hidden 2560, 36 layers)",
        "claimed_base": None, "gated": False, "others": ["me/b"],
    }  # fmt: skip
    first, second = kaggle.asked("ListDatasets")
    assert (first["search"], first["sortBy"]) == ("r", "DATASET_SORT_BY_DOWNLOAD_COUNT")
    assert second["user"] == "me"


def test_models_of_kaggle(server: FileServer, tmp_path: Path) -> None:
    instance = {"slug": "lora-v1", "framework": "MODEL_FRAMEWORK_PY_TORCH",
                "totalUncompressedBytes": 77}  # fmt: skip
    kaggle = Kaggle(server, b"")
    kaggle.lists["ListModels"] = [
        {"ref": "me/m", "title": "M", "author": "Me", "instances": [instance],
         "updateTime": "2025-03-04T05:06:07Z", "voteCount": 1},
        {"ref": "me/empty", "title": "E"},
    ]  # fmt: skip
    found = run(kaggle_environment(server, tmp_path), "m", "kaggle", "model", "votes", 9)
    by_id = {c["id"]: c for c in found}
    assert by_id["me/m"]["fetch"] == "kaggle:me/m/pyTorch/lora-v1"
    assert by_id["me/m"]["bytes"] == 77
    assert by_id["me/empty"]["fetch"] is None


def test_notebooks_of_kaggle(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, b"")
    kaggle.lists["ListKernels"] = [
        {"ref": "me/train-lora", "title": "Train a LoRA", "author": "Me", "totalVotes": 3,
         "lastRunTime": "2025-03-04T05:06:07Z", "language": "python"},
    ]  # fmt: skip
    found = run(kaggle_environment(server, tmp_path), "lora", "kaggle", "notebook")
    assert found[0]["url"] == "https://www.kaggle.com/code/me/train-lora"
    assert (found[0]["fetch"], found[0]["votes"]) == (None, 3)


def test_kaggle_refuses_or_is_away(server: FileServer, tmp_path: Path) -> None:
    Kaggle(server, b"").status = 401
    refused = run(kaggle_environment(server, tmp_path), "lora", "kaggle", "dataset")
    assert refused["error"] == "UnavailableError"
    assert "KAGGLE_API_TOKEN" in refused["message"]
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    away = run(kaggle_environment(server, tmp_path, **nowhere), "lora", "kaggle", "dataset")
    assert "Kaggle cannot be reached for the search for 'lora'" in away["message"]


def test_what_cannot_be_asked_for() -> None:
    for arguments, words in (
        (("  ",), "nothing to search for"),
        (("x", "hf", "notebook"), "The Hub has no notebooks"),
        (("x", "hf", "model", "updated", 0), "0 finds"),
        (("x", "hf", "model", "updated", 101), "101 finds"),
    ):
        with pytest.raises(InputError, match=words):
            search(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("me/Qwen2.5-1.5B-Instruct-x", "Qwen2.5-1.5B (hidden 1536, 28 layers)"),
        ("TheBloke/Mistral-7B-Instruct-v0.2-GPTQ",
         "TheBloke/Mistral-7B-Instruct-v0.2-GPTQ is a GPTQ copy of "
         "mistralai/Mistral-7B-Instruct-v0.2; Mistral-7B (hidden 4096, 32 layers)"),
        ("me/reddit", ""),
    ],
)  # fmt: skip
def test_what_a_name_says(name: str, says: str) -> None:
    assert describe_base(name) == says


def test_unknown_values_come_last() -> None:
    def find(name: str, votes: int | None) -> Candidate:
        return Candidate("hf", "model", name, None, "", name, "", votes=votes)

    finds = [find("a", None), find("b", 0), find("c", 5), find("d", None)]
    assert [c.id for c in ordered(finds, "votes")] == ["c", "b", "a", "d"]


def test_descriptions_are_one_short_line() -> None:
    assert shorten(" a\n b ") == "a b"
    assert shorten(None) == ""
    assert len(shorten("word " * 200)) <= 300
