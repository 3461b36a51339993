"""Which engine answers, as configurations spell it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from loragraft.settings import UNSHOWN, NameOrPath, Settings

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]


def _no_key(text: str) -> str:
    if text and not (text.isascii() and text.isidentifier()):
        raise PydanticCustomError(
            UNSHOWN,
            "name an environment variable, such as OPENAI_API_KEY. If the key itself stands here, "
            "take it out and make a new one: files are read by others",
        )
    return text


def _no_secret(text: str) -> str:
    if "@" in text or "?" in text:
        raise PydanticCustomError(
            UNSHOWN,
            "give the place alone, as in http://127.0.0.1:8080/v1. A name, a password or a key in "
            "an address ends up in records: set the key in the environment",
        )
    return text


Url = Annotated[str, AfterValidator(_no_secret)]
"""An address without credentials."""
Variable = Annotated[str, AfterValidator(_no_key)]
"""The name of an environment variable, never a key."""


class LlamaSpec(Settings):
    """llama.cpp in this process: the embedded default.

    Attributes:
        model: A bundle's folder or a GGUF file; one that begins with ./ or ../ is relative to the
            configuration's file.
        quant: Which of a bundle's files.
        context: Tokens for one conversation with its answer; None takes what the questions need.
        width: Conversations in one batch; None chooses by the memory. Part of a run's key: answers
            differ from width to width in the last digits, and so sometimes in words.
        gpu_layers: Layers that a GPU computes; 0 for none, None for all.
        threads: 0 for all cores.
    """

    kind: Literal["llama"] = "llama"
    model: NameOrPath
    quant: str | None = None
    context: Count | None = None
    width: Annotated[int, Field(ge=1, le=256)] | None = None
    gpu_layers: Annotated[int, Field(ge=0)] | None = 0
    threads: Annotated[int, Field(ge=0)] = 0


class _Remote(Settings):
    """What servers have in common.

    Attributes:
        concurrency: Requests at the same time.
        timeout: Seconds without a sign of life, after which a request has failed.
        retries: How often a failed request is tried again.
    """

    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    timeout: Seconds = 300.0
    retries: Annotated[int, Field(ge=0, le=10)] = 3


class OllamaSpec(_Remote):
    """A model of an Ollama server, through its own API.

    Attributes:
        model: Its tag.
        host: The server's address; None takes ``OLLAMA_HOST``.
        context: ``num_ctx``; None takes what the longest question needs.
    """

    kind: Literal["ollama"]
    model: str
    host: Url | None = None
    context: Count | None = None


class TransformersSpec(Settings):
    """transformers and PEFT.

    Attributes:
        model: A checkpoint's folder (as for :class:`LlamaSpec`) or a repository of the Hub's cache.
        adapter: Put on it.
        merged: Whether the adapter is added to the weights first.
        width: Conversations in one batch.
        device: ``auto`` takes a GPU where there is one.
        dtype: ``auto`` is float32 on a processor, the checkpoint's own on a GPU.
        context: Tokens; None takes the model's own.
    """

    kind: Literal["transformers"]
    model: NameOrPath
    adapter: NameOrPath | None = None
    merged: bool = False
    width: Annotated[int, Field(ge=1, le=256)] = 8
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    context: Count | None = None


class ServedSpec(_Remote):
    """An endpoint with a key and prices.

    Attributes:
        kind: Whose protocol it speaks.
        model: Its name there.
        url: Where it is.
        key: Environment variable that holds the key; None for an endpoint without one.
        context: Tokens that a prompt and its answer may have together.
        input_price: US dollars for a million tokens read.
        output_price: And written.
        requests_per_minute: Most; None leaves the pace to the endpoint's refusals.
        needed: Whether a run without the key fails; else the experiment is left out, and said so.
    """

    kind: str
    model: str
    url: Url
    key: Variable | None
    context: Count = 16384
    input_price: Price | None = None
    output_price: Price | None = None
    requests_per_minute: Count | None = None
    needed: bool = False


class OpenAiSpec(ServedSpec):
    """Any endpoint that speaks OpenAI's chat completions; its url goes up to ``/v1``."""

    kind: Literal["openai"]
    url: Url = "https://api.openai.com/v1"
    key: Variable | None = "OPENAI_API_KEY"


class AnthropicSpec(ServedSpec):
    """Anthropic's Messages API."""

    kind: Literal["anthropic"]
    url: Url = "https://api.anthropic.com"
    key: Variable = "ANTHROPIC_API_KEY"


EngineSpec = Annotated[
    LlamaSpec | OllamaSpec | TransformersSpec | OpenAiSpec | AnthropicSpec,
    Field(discriminator="kind"),
]
