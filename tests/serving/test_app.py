"""Through the endpoint: transformers' ids, the family's stop, and only those who may ask."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from transformers import AutoTokenizer

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Sampling
from loragraft.errors import TemplateError
from loragraft.serving.app import Served, Serving, build_app
from tests.support.talking import QUESTIONS, SAYING, TALKING, conversations, prompt_ids

URL = "http://localhost"
CHAT = "/v1/chat/completions"
GREEDY = {"temperature": 0, "max_tokens": 40}
USER = [{"role": "user", "content": QUESTIONS[0]}]
KEY = "a-key-of-the-tests"


def serve(bundle: Path, **options: Any) -> Served:  # noqa: ANN401
    return build_app(open_model(bundle), Serving(threads=1, **options))


def ask(client: TestClient, messages: Any, **options: Any) -> Any:  # noqa: ANN401
    answer = client.post(CHAT, json={"messages": messages, **GREEDY, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def heard_ids(served: Served) -> list[list[int]]:
    """Return a list that fills with the prompts that reach the model."""
    prompts: list[list[int]] = []
    complete = served.llama.create_completion

    def listen(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        prompts.append(list(options["prompt"]))
        return complete(*arguments, **options)

    served.llama.create_completion = listen
    return prompts


@pytest.mark.parametrize("name", TALKING)
def test_every_family_answers_and_stops_with_the_ids_of_transformers(
    name: str, talking: Callable[[str], Path], talking_bundle: Callable[[str], Path]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(talking(name))
    served = serve(talking_bundle(name))
    prompts = heard_ids(served)
    client = TestClient(served.app, base_url=URL)
    for conversation in conversations()[-2:]:
        answer = ask(client, conversation[:-1])
        assert prompts[-1] == prompt_ids(tokenizer, conversation[:-1])
        assert answer["choices"][0]["message"]["content"].strip() == SAYING
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["model"] == name
    served.close()


@pytest.mark.slow
def test_smollm2_answers_with_the_ids_of_transformers_and_the_words_of_chat(
    smollm2_bundle: Path, smollm2_checkpoint: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_checkpoint)
    served = serve(smollm2_bundle, context=512)
    prompts = heard_ids(served)
    messages = [{"role": "user", "content": "What is a lighthouse?"}]
    answer = ask(TestClient(served.app, base_url=URL), messages)
    assert prompts == [prompt_ids(tokenizer, messages)]
    assert answer["usage"]["prompt_tokens"] == len(prompts[0])
    assert "lighthouse" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    served.close()
    engine = LlamaEngine(open_model(smollm2_bundle), context=512, threads=1)
    reply = engine.chat(messages, Sampling(temperature=0, max_tokens=40))
    engine.close()
    assert answer["choices"][0]["message"]["content"].strip() == reply.text.strip()


def test_a_turn_end_that_llama_cpp_does_not_know_ends_answers(
    talking_bundle: Callable[[str], Path], tmp_path: Path
) -> None:
    data = open_model(talking_bundle("gemma2")).gguf.read_bytes()
    assert b"<end_of_turn>" in data
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(data.replace(b"<end_of_turn>", b"<odd_of_turn>"))
    served = build_app(LocalModel(odd, "odd"), Serving(threads=1))
    client = TestClient(served.app, base_url=URL)
    choice = ask(client, USER)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (SAYING, "stop")
    served.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_answers_are_streamed(qwen: Served) -> None:
    client = TestClient(qwen.app, base_url=URL)
    lines = client.post(CHAT, json={"messages": USER, "stream": True, **GREEDY}).text.splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    deltas = [json.loads(event)["choices"][0] for event in events]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == SAYING
    assert deltas[-1]["finish_reason"] == "stop"
    gc.collect()  # the server leaves a stream of its own unclosed


def test_text_parts_are_one_text(qwen: Served) -> None:
    prompts = heard_ids(qwen)
    client = TestClient(qwen.app, base_url=URL)
    ask(client, USER)
    ask(client, [{"role": "user", "content": [{"type": "text", "text": QUESTIONS[0]}]}])
    assert prompts[0] == prompts[1]


def test_the_penalty_is_neutral_where_a_request_does_not_say(qwen: Served) -> None:
    heard: dict[str, Any] = {}
    complete = qwen.llama.create_completion

    def listen(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        heard.update(options)
        return complete(*arguments, **options)

    qwen.llama.create_completion = listen
    ask(TestClient(qwen.app, base_url=URL), USER)
    assert heard["repeat_penalty"] == 1.0
    ask(TestClient(qwen.app, base_url=URL), USER, repeat_penalty=1.3)
    assert heard["repeat_penalty"] == 1.3


def test_models_are_named_without_their_path(qwen: Served) -> None:
    answer = TestClient(qwen.app, base_url=URL).get("/v1/models")
    assert [model["id"] for model in answer.json()["data"]] == ["qwen3"]
    assert str(Path.cwd().anchor) + "tmp" not in answer.text


def test_no_web_page_may_ask_and_no_name_bent_to_this_machine(qwen: Served) -> None:
    client = TestClient(qwen.app, base_url=URL)
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options(CHAT, headers=preflight)
    assert "access-control-allow-origin" not in answer.headers
    assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/v1/models", headers={"Host": "127.0.0.1:8000"}).status_code == 200


def test_a_key_is_asked_for_and_origins_may_be_named(
    talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hostile = tmp_path / "config.json"
    hostile.write_text('{"models": [{"model": "/nowhere"}]}')
    monkeypatch.setenv("CONFIG_FILE", str(hostile))  # variables of its own settings count nothing
    monkeypatch.setenv("API_KEY", "another")
    page = "https://page.example"
    served = serve(talking_bundle("qwen3"), api_key=KEY, origins=(page,))
    client = TestClient(served.app, base_url="http://192.0.2.7")
    assert KEY not in repr(Serving(api_key=KEY))
    for key in ("", "another", KEY + "x"):
        refused = client.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
        assert refused.status_code == 401
    header = {"Authorization": f"Bearer {KEY}", "Origin": page}
    allowed = client.get("/v1/models", headers=header)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == page
    served.close()


def test_a_conversation_the_template_refuses_is_answered_in_words(
    talking_bundle: Callable[[str], Path],
) -> None:
    served = serve(talking_bundle("gemma3"))
    client = TestClient(served.app, base_url=URL)
    answer = client.post(CHAT, json={"messages": [USER[0], USER[0]], **GREEDY})
    assert answer.status_code == 400
    assert "roles must alternate" in answer.text
    served.close()


def test_thinking_is_switched(
    talking: Callable[[str], Path], talking_bundle: Callable[[str], Path]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(talking("qwen3"))
    served = serve(talking_bundle("qwen3"), think=False)
    prompts = heard_ids(served)
    ask(TestClient(served.app, base_url=URL), USER)
    assert prompts == [prompt_ids(tokenizer, USER, enable_thinking=False)]
    served.close()


def test_a_file_without_a_template_is_refused(
    talking_bundle: Callable[[str], Path], tmp_path: Path
) -> None:
    data = open_model(talking_bundle("qwen3")).gguf.read_bytes()
    bare = tmp_path / "bare.gguf"
    bare.write_bytes(data.replace(b"tokenizer.chat_template", b"tokenizer.no_templates!"))
    with pytest.raises(TemplateError, match="no chat template"):
        build_app(LocalModel(bare, "bare"), Serving())
