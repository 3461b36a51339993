"""Keys of endpoints: from the environment alone, only where they are safe, and never shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.engine.batch.openai import OpenAiBatchEngine
from loragraft.engine.batch.opening import missing_key, open_engine
from loragraft.engine.batch.protocol import BatchEngine, Job
from loragraft.engine.batch.specs import OpenAiSpec
from loragraft.engine.protocol import Sampling
from loragraft.errors import InputError, UnavailableError
from loragraft.experiment.config import load_series
from tests.support.chat_dialects import Said
from tests.support.chat_server import ChatServer, chat_server

KEY = "sk-a-very-secret-key-1234"
QUESTION = Job("q1", ({"role": "user", "content": "Hi"},), Sampling(temperature=0.0, max_tokens=9))
OPENED: list[BatchEngine] = []


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(lambda body: Said("Yes.")) as found:
        yield found


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def test_the_key_comes_from_the_environment_and_is_never_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    spec = OpenAiSpec(kind="openai", model="m", url=f"{server.url}/v1", key="MY_KEY")
    assert missing_key(spec) == "MY_KEY"
    with pytest.raises(UnavailableError, match=r"MY_KEY is not set.*\.env\.example"):
        open_engine(spec)
    monkeypatch.setenv("MY_KEY", "two words")
    with pytest.raises(InputError, match="MY_KEY holds 9 characters that are no key"):
        open_engine(spec)
    monkeypatch.setenv("MY_KEY", KEY)
    assert missing_key(spec) is None
    engine = open_engine(spec)
    OPENED.append(engine)
    server.key = KEY
    assert [answer.status for answer in engine.answers([QUESTION])] == ["ok"]
    assert KEY not in json.dumps(engine.identity())
    assert KEY not in repr(vars(engine))
    server.key = "another"
    with pytest.raises(UnavailableError, match="Set MY_KEY to a key of this endpoint") as raised:
        list(engine.answers([QUESTION]))
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8080/v1", "no address"),
        ("ftp://h/v1", "no address"),
        ("http://h/v1#key", "key in it would end up"),
        ("http://h:99999/v1", "address is none"),
        ("http://example.org/v1", "unencrypted"),
        ("", "no address"),
    ],
)
def test_addresses_that_are_none(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(InputError, match=words):
        OpenAiBatchEngine(OpenAiSpec(kind="openai", model="m", url=url, key="MY_KEY"))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (f"key: {KEY}", "name an environment variable"),
        (f"url: 'https://u:{KEY}@h/v1'", "set the key in the environment"),
        (f"url: 'https://h/v1?key={KEY}'", "set the key in the environment"),
    ],
)
def test_a_key_in_a_file_is_refused_and_not_repeated(
    tmp_path: Path, where: str, words: str
) -> None:
    series = tmp_path / "s.yaml"
    series.write_text(
        "series: s\ndata: {files: [a.jsonl]}\nbaseline: a\n"
        f"experiments: {{a: {{engine: {{kind: openai, model: m, {where}}}}}}}\n"
    )
    with pytest.raises(InputError, match=words) as raised:
        load_series(series)
    assert KEY not in str(raised.value)


def test_an_empty_name_means_no_key(server: ChatServer) -> None:
    spec = OpenAiSpec(kind="openai", model="m", key="", url=f"{server.url}/v1")
    assert missing_key(spec) is None
    OPENED.append(open_engine(spec))
    assert [answer.status for answer in OPENED[0].answers([QUESTION])] == ["ok"]
