"""An embeddings endpoint as OpenAI's: vLLM, llama-server, text-embeddings-inference, OpenAI."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loragraft.embedding.answers import vectors_of
from loragraft.embedding.batches import OnDone, in_batches
from loragraft.embedding.spec import EmbedderSpec
from loragraft.embedding.tokens import EstimatedTokens, Tokens, file_tokens
from loragraft.engine.ollama_host import is_loopback
from loragraft.errors import InputError, UnavailableError

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

KIND = "openai"
DEFAULT_MAX_TOKENS = 510
"""Where nobody says: most embedding models read 512, two of them special."""
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 120.0
_ATTEMPTS = 4
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 20.0
"""Seconds before another attempt, doubled each time; a server may ask for others."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_MAX_ANSWER = 256 << 20
_SHOWN = 200
"""Characters of a server's own words that a message repeats."""


class OpenAIEmbedder:
    """Embeds by ``POST /embeddings``."""

    def __init__(self, spec: EmbedderSpec) -> None:
        """Name the endpoint; nothing is sent yet.

        Raises:
            InputError: If no URL is given, or it is none.
            TokenizerError: If the tokenizer that is named cannot be read.
        """
        import httpx

        self._spec, self._url = spec, _base(spec.url)
        self._tokens: Tokens = (
            file_tokens(Path(spec.tokenizer)) if spec.tokenizer else EstimatedTokens()
        )
        key = os.environ.get(spec.api_key_env, "").strip()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=not is_loopback(_with_port(self._url)),
        )

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self._spec.name

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Kind, model and prompts: the weights of an endpoint cannot be seen.

        What they compute can: an index compares a stored vector with a new one of its text.
        """
        prompts = f"{self._spec.query_prompt or ''}\n{self._spec.document_prompt or ''}"
        found = {"kind": KIND, "model": self._spec.name}
        return found if prompts == "\n" else {**found, "prompts": prompts}

    @cached_property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.embed(["."]).shape[1])

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, as the user says."""
        return self._spec.max_tokens or DEFAULT_MAX_TOKENS

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens: estimates, where no tokenizer was named."""
        return self._tokens.count(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token's characters stand in a text."""
        return self._tokens.spans(text)

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_done: OnDone | None = None
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`Embedder.embed`.

        Raises:
            UnavailableError: If the endpoint does not answer, or something else.
            InputError: If it refuses what was asked.
        """
        prompt = (self._spec.query_prompt if query else self._spec.document_prompt) or ""

        def send(batch: list[str]) -> NDArray[np.float32]:
            return self._ask([prompt + text for text in batch])

        return in_batches(texts, max(1, self._spec.batch), send, on_done)

    def _ask(self, texts: list[str]) -> NDArray[np.float32]:
        body = {"model": self._spec.name, "input": texts, "encoding_format": "float"}
        answer = self._post(body)
        data = answer.get("data")
        rows: list[Any] = [None] * len(texts)
        for number, item in enumerate(data if isinstance(data, list) else []):
            if not isinstance(item, dict):
                continue
            index = item.get("index", number)  # some servers answer in another order
            if type(index) is int and 0 <= index < len(rows):
                rows[index] = item.get("embedding")
        return vectors_of(rows, len(texts), self._url)

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        wait = _FIRST_WAIT
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            response = self._send(body, last)
            if response is not None and (response.status_code not in _PASSING or last):
                return _checked(response, self._url, self._spec)
            time.sleep(_wait(response, wait))
            wait = min(2 * wait, _LONGEST_WAIT)
        raise AssertionError  # the last attempt returns or raises

    def _send(self, body: Mapping[str, Any], last: bool) -> httpx.Response | None:
        import httpx

        try:
            return self._client.post(f"{self._url}/embeddings", json=body)
        except (httpx.TransportError, httpx.DecodingError) as error:
            refused = isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol)
            if last or refused:
                raise UnavailableError(
                    f"{self._url} cannot be reached: {error or type(error).__name__}. Start the "
                    "server, or check the URL."
                ) from None
            return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _base(url: str | None) -> str:
    """Return the API's base without a slash at its end.

    Raises:
        InputError: If it is missing or none, or holds credentials.
    """
    example = "Give it as in http://127.0.0.1:8080/v1."
    try:
        parts = urlsplit((url or "").strip())
        _port = parts.port  # read, so that one out of range is found
    except ValueError as error:
        raise InputError(f"The URL {url!r} is none: {error}. {example}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"The embeddings endpoint has the URL {url!r}. {example}")
    if parts.username or parts.password or parts.query:
        raise InputError(
            "The URL of the embeddings endpoint holds a key, which would end up in the index. "
            "Leave it out and set the variable OPENAI_API_KEY, or the one you name."
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return base.removesuffix("/embeddings")


def _with_port(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 80}"


def _wait(response: httpx.Response | None, usual: float) -> float:
    """Return how long to wait: what the server asks for, within bounds."""
    asked = "" if response is None else response.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else usual


def _checked(response: httpx.Response, url: str, spec: EmbedderSpec) -> dict[str, Any]:
    """Return the JSON of an answer.

    Raises:
        InputError: If the request was refused.
        UnavailableError: If the server fails, or does not let us in.
    """
    words = response.text[:_SHOWN].replace("\n", " ") if len(response.content) < 1 << 20 else ""
    if response.status_code in (401, 403):
        raise UnavailableError(
            f"{url} does not let us in ({response.status_code}). Set {spec.api_key_env} to its key."
        )
    if response.status_code in (400, 404, 413, 422):
        raise InputError(
            f"{url} refuses to embed by {spec.name} ({response.status_code}): {words}. Check the "
            "model's name; if texts are too long, give fewer --chunk-tokens."
        )
    if not response.is_success or len(response.content) > _MAX_ANSWER:
        raise UnavailableError(
            f"{url} fails to embed by {spec.name} ({response.status_code}): {words}. Look at the "
            "server's log, and run the command again: what is embedded is kept."
        )
    try:
        value = response.json()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UnavailableError(f"{url} does not answer in JSON: {words}. Check the URL.")
    return value
