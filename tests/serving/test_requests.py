"""A client's mistakes: said in OpenAI's shape with 4xx, and the next request is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_cpp.server.types import CreateChatCompletionRequest, CreateCompletionRequest
from starlette.testclient import TestClient

from loragraft.serving.gate import MAX_BODY
from loragraft.serving.requests import CHAT, COMPLETION
from tests.support.talking import SAYING

USER = [{"role": "user", "content": "lazy"}]
GREEDY = {"temperature": 0, "max_tokens": 20}


def refusal(client: TestClient, body: Any, path: str = CHAT) -> dict[str, Any]:  # noqa: ANN401
    """Send what is refused; return the error after the next request was answered."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=data)
    assert answer.status_code in (400, 413), answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error


def say(client: TestClient, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    answer = client.post(CHAT, json={"messages": USER, **GREEDY, **options})
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"grammar": "root ::= ("}, "grammar"),
        ({"grammar": 'root ::= "a"'}, "grammar"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 3}, "logprobs"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_tokens"),
        ({"n": 3}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": [1]}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 2**40}, "top_k"),
        ({"repeat_penalty": 0}, "repeat_penalty"),
        ({"seed": "x"}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": [["a"]]}, "stop"),
        ({"stream": "perhaps"}, "stream"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 1e300}}, "logit_bias"),
        ({"response_format": {"type": "json_object", "schema": {"$ref": "#"}}}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": {"type": 5}}}, "response_format"),
        ({"response_format": {"type": "json_object"}, "min_tokens": 5}, "min_tokens"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [5]}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": "fox " * 900}]}, "messages"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_chat_may_not_ask(
    client: TestClient, more: dict[str, Any], param: str, stream: bool
) -> None:
    error = refusal(client, {"messages": USER, **GREEDY, "stream": stream, **more})
    assert (error["param"] or "").startswith(param), error


def test_the_server_lives_on_after_all_that(client: TestClient) -> None:
    assert say(client)["message"]["content"] == SAYING


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"[" * 100_000, b"9" * 5000,
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
        b" " * (MAX_BODY + 1),
    ],
)  # fmt: skip
def test_what_is_no_request(client: TestClient, data: bytes) -> None:
    for path in (CHAT, COMPLETION):
        assert refusal(client, data, path)["message"]


def test_images_are_refused_in_words(client: TestClient) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    assert "reads text only" in refusal(client, {"messages": messages})["message"]


def test_a_context_that_is_too_small_has_openais_code(client: TestClient) -> None:
    body = {"messages": [{"role": "user", "content": "fox " * 900}]}
    assert refusal(client, body)["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "more", [{"prompt": ["a", "b"]}, {"prompt": 5}, {"prompt": [1, 2]}, {"logprobs": 0},
             {"suffix": "b"}, {"best_of": 2}, {"max_tokens": -1}, {"prompt": "fox " * 900},
             {"grammar": "("}],
)  # fmt: skip
def test_what_a_completion_may_not_ask(client: TestClient, more: dict[str, Any]) -> None:
    assert refusal(client, {"prompt": "the quick", **more}, COMPLETION)["param"] == next(iter(more))


@pytest.mark.parametrize(
    "path", ["/extras/detokenize", "/extras/tokenize", "/v1/embeddings", "/v1/nothing", "/docs"]
)
def test_routes_that_are_not_there(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"tokens": [99999999], "input": "x"})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert client.get(CHAT).status_code == 405


def test_what_openais_newer_clients_send_is_understood(client: TestClient) -> None:
    choice = say(
        client, max_tokens=None, max_completion_tokens=2, logprobs=False, n=1, stop=None, user="me",
        messages=[{"role": "developer", "content": "Be brief."}, *USER], store=True, top_k=None,
    )  # fmt: skip
    assert choice["finish_reason"] == "length"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [*USER, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "1", "content": "7"}]  # fmt: skip
    assert say(client, messages=messages)["message"]["content"]


def test_an_answer_ends_where_the_context_does(client: TestClient) -> None:
    bias = {"0": 100}  # one token for ever
    choice = say(client, max_tokens=None, logit_bias=bias)
    assert choice["finish_reason"] == "length"
    assert say(client)["message"]["content"] == SAYING


def test_json_is_made_by_a_schema_and_by_a_tool(client: TestClient) -> None:
    schema = {"type": "object", "properties": {"x": {"enum": [7]}}, "required": ["x"]}
    wanted = {"type": "json_object", "schema": schema}
    assert json.loads(say(client, response_format=wanted)["message"]["content"]) == {"x": 7}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    choice = {"type": "function", "function": {"name": "f"}}
    message = say(client, tools=[tool], tool_choice=choice)["message"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"x": 7}


def test_hot_answers_differ_from_request_to_request(client: TestClient) -> None:
    hot = {"temperature": 50, "top_k": 0, "top_p": 1, "min_p": 0}
    texts = {say(client, **hot)["message"]["content"] for _ in range(3)}
    assert len(texts) > 1
    same = {say(client, **hot, seed=3)["message"]["content"] for _ in range(2)}
    assert len(same) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = sorted({*CreateChatCompletionRequest.model_fields, *CreateCompletionRequest.model_fields,
                 "max_completion_tokens", "nothing"})  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("chat", [False, True])
def test_null_is_what_was_not_said(client: TestClient, field: str, chat: bool) -> None:
    body = {"messages": USER, "prompt": "the quick", **GREEDY, "max_tokens": 2, field: None}
    answer = client.post(CHAT if chat else COMPLETION, content=json.dumps(body).encode())
    asked = field == ("messages" if chat else "prompt")
    assert answer.status_code == (400 if asked else 200), answer.text


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=2), st.booleans())
def test_no_request_makes_an_internal_error(
    client: TestClient, more: dict[str, Any], chat: bool
) -> None:
    body = {"messages": USER, "prompt": "the quick", **GREEDY, "max_tokens": 2, **more}
    answer = client.post(CHAT if chat else COMPLETION, content=json.dumps(body).encode())
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()["error"]["message"]
