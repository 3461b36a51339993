"""One Ollama server: what it holds, uploads, creation, rendering, answers.

Built on the official ``ollama`` client; what that lacks (a look for a blob, the raw answer of
``/api/show``, rendering without generating) goes through its connection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loragraft.artifact.closing import Closing
from loragraft.artifact.progress import Progress, Silent
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.ollama_chances import Chance, Probe, read_probe
from loragraft.engine.ollama_errors import (
    explain_answer,
    not_understood,
    too_long,
)
from loragraft.engine.ollama_host import parse_host
from loragraft.engine.ollama_transport import (
    LOAD_SECONDS,
    MissingError,
    Transport,
    repeat,
)
from loragraft.engine.protocol import Message
from loragraft.errors import BundleError, InputError, UnavailableError

GENERATION_SECONDS = 600.0
"""For one whole answer: 512 tokens at one token a second, the slowest that is worth waiting for."""
CREATE_SECONDS = 3600.0
"""For making a model of a blob: newer servers rewrite the file, 40 GB on a slow disk."""
VERIFY_SECONDS = 600.0
"""For the answer after an upload: the server flushes and renames."""
BLOCK = 1 << 20
FILE_NAME = "model.gguf"
"""What the file is called in a request to create; servers only want a relative path."""


class OllamaServer(Closing):
    """A client of one server; a context manager.

    Attributes:
        url: Its address.
        timeout: Seconds for one whole answer.
    """

    def __init__(self, url: str | None = None, *, timeout: float = GENERATION_SECONDS) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: Its address in any spelling; None reads ``OLLAMA_HOST``.
            timeout: Seconds for one whole answer.

        Raises:
            InputError: If the address is none.
        """
        self.url = parse_host(url)
        self.timeout = timeout
        self._transport = Transport(self.url)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def version(self) -> str:
        """Return the server's version.

        Raises:
            UnavailableError: If no server answers, or something else than Ollama.
        """
        answer = self._transport.ask("GET", "/api/version", "asking for its version")
        found = answer.get("version")
        if not isinstance(found, str) or not found:
            raise not_understood(self.url, "asking for its version", json.dumps(answer)[:80])
        return found

    def models(self) -> list[dict[str, Any]]:
        """Return what ``/api/tags`` lists: name, digest of the manifest, size, time."""
        answer = self._transport.ask("GET", "/api/tags", "listing the models")
        found = answer.get("models") or []
        if not isinstance(found, list) or not all(
            isinstance(model, dict) and isinstance(model.get("name"), str) for model in found
        ):
            raise not_understood(self.url, "listing the models", json.dumps(found)[:80])
        return found

    def running(self) -> list[dict[str, Any]]:
        """Return what ``/api/ps`` lists: the models that are loaded."""
        answer = self._transport.ask("GET", "/api/ps", "listing what runs")
        return list(answer.get("models") or [])

    def find(self, tag: str) -> dict[str, Any] | None:
        """Return the raw answer of ``/api/show``, or None if there is no such model."""
        ask = self._transport.ask
        try:
            return ask("POST", "/api/show", f"showing {tag}", {"model": tag}, missing=True)
        except MissingError:
            return None

    def show(self, tag: str) -> dict[str, Any]:
        """Return the raw answer of ``/api/show``.

        Raises:
            InputError: If there is no such model.
        """
        found = self.find(tag)
        if found is None:
            raise InputError(
                f"Ollama at {self.url} has no model {tag!r}. See what is there with: ollama list."
            )
        return found

    def vocabulary(self, tag: str) -> dict[str, Any]:
        """Return the metadata of a model's file, its tokens among them; some MiB.

        Empty where the server does not show them.
        """
        found = self._transport.ask(
            "POST", "/api/show", f"showing {tag}", {"model": tag, "verbose": True}
        ).get("model_info")
        return found if isinstance(found, dict) else {}

    def has_blob(self, digest: str) -> bool:
        """Return whether the server holds a file, by its SHA256 in hexadecimal."""
        doing = "looking for the file"
        status = self._transport.status("HEAD", f"/api/blobs/sha256:{digest}", doing)
        if status in (200, 404):
            return status == 200
        raise explain_answer(self.url, doing, status, "")

    def upload(self, path: Path, digest: str, progress: Progress | None = None) -> None:
        """Send a file; a broken connection is tried again, from the start.

        Args:
            path: The file.
            digest: Its SHA256 in hexadecimal.
            progress: Who hears of the bytes.

        Raises:
            OutOfSpaceError: If the server's disk is full.
            UnavailableError: If the connection breaks again and again, or the server does not
                hold what it says it took.
            BundleError: If the file changes meanwhile.
        """
        watcher = progress or Silent()
        try:
            repeat(lambda: self._send_file(path, digest, watcher))
        except (FileNotFoundError, PermissionError) as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
        if not self.has_blob(digest):
            raise UnavailableError(
                f"Ollama at {self.url} took {path.name} and does not hold sha256:{digest}. "
                "Look at its log and its disk; nothing was registered."
            )

    def _send_file(self, path: Path, digest: str, progress: Progress) -> None:
        size = path.stat().st_size
        progress.begin(f"Uploading {path.name} to {self.url}", size)
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with self._transport.open(
            "POST",
            f"/api/blobs/sha256:{digest}",
            f"uploading {path.name}",
            seconds=VERIFY_SECONDS,
            passing=True,
            content=_blocks(path, size, progress),
            headers=headers,
        ):
            return

    def create(
        self, tag: str, request: Mapping[str, Any], digest: str, progress: Progress | None = None
    ) -> None:
        """Make a model of an uploaded file; one of that name is replaced.

        Args:
            tag: Its name.
            request: Keywords of the official client's ``create``: template, system, parameters ...
            digest: The file's SHA256 in hexadecimal.
            progress: Who hears what the server does.

        Raises:
            LoragraftError: If the server refuses, or ends without having said "success".
        """
        doing = f"creating the model {tag}"
        end = time.monotonic() + CREATE_SECONDS
        files = {FILE_NAME: f"sha256:{digest}"}
        said = ""
        with self._official(doing):
            stream = self._transport.client.create(tag, files=files, stream=True, **request)
            for answer in stream:
                if answer.status and answer.status != said:
                    said = answer.status
                    (progress or Silent()).begin(f"Ollama: {said[:80]}", 0)
                if time.monotonic() > end:
                    raise too_long(self.url, doing, CREATE_SECONDS)
        if said != "success":
            raise UnavailableError(
                f"Ollama at {self.url} ended {doing} with {said!r} instead of 'success'. Look at "
                "its log and try again."
            )

    def copy(self, source: str, target: str) -> None:
        """Give a model a second name; what had it is replaced."""
        with self._official(f"copying {source} to {target}"):
            self._transport.client.copy(source, target)

    def delete(self, tag: str) -> None:
        """Remove a model's name; its files go when no other name holds them."""
        with self._official(f"removing {tag}"):
            self._transport.client.delete(tag)

    @contextmanager
    def _official(self, doing: str) -> Iterator[None]:
        """Turn the official client's errors into ours."""
        from ollama import ResponseError
        from pydantic import ValidationError

        try:
            with self._transport.explained(doing):
                yield
        except ResponseError as error:
            status = error.status_code if error.status_code > 0 else None
            # The client has taken the words out of Ollama's JSON; anything else it leaves whole.
            words = error.error.strip()
            foreign = not words or words.startswith("<") or "page not found" in words
            body = words if foreign else json.dumps({"error": words})
            raise explain_answer(self.url, doing, status, body) from None
        except (ValueError, TypeError, AttributeError, ValidationError) as error:
            raise not_understood(self.url, doing, str(error)) from None

    def render(
        self,
        tag: str,
        messages: Sequence[Message],
        *,
        think: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Return a conversation as the server renders it; None where it cannot show that.

        Older servers do not know the request and answer the conversation instead, with one token.
        """
        plain = plain_text(messages)
        if plain is not None:
            return plain
        _, body = self._request(tag, messages, {**(options or {}), "num_predict": 1}, think)
        body |= {"_debug_render_only": True, "stream": False}
        answer = self._transport.ask(
            "POST", "/api/chat", f"rendering for {tag}", body, seconds=LOAD_SECONDS
        )
        shown = answer.get("_debug_info")
        text = shown.get("rendered_template", "") if isinstance(shown, dict) else None
        return text if isinstance(text, str) else None

    def chat(
        self,
        tag: str,
        messages: Sequence[Message],
        options: Mapping[str, Any],
        *,
        think: bool | None = None,
        schema: Mapping[str, Any] | None = None,
        silence: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Answer a conversation; give each piece of the raw answer as it comes.

        Args:
            tag: The model.
            messages: The conversation.
            options: Parameters of this answer; they should name temperature, repeat_penalty and
                num_ctx, whose defaults differ between servers.
            think: Switch thinking on or off; None leaves it as it is.
            schema: A JSON schema that the answer is held to.
            silence: Seconds until the first piece, and at most between two; None for as long as a
                model may load.

        Raises:
            LoragraftError: Also in the middle, in words.
        """
        path, body = self._request(tag, messages, options, think)
        body["stream"] = True
        if schema is not None:
            body["format"] = dict(schema)
        yield from self._transport.stream(
            path, f"an answer of {tag}", body, seconds=self.timeout, silence=silence
        )

    def _request(
        self,
        tag: str,
        messages: Sequence[Message],
        options: Mapping[str, Any],
        think: bool | None,
    ) -> tuple[str, dict[str, Any]]:
        """Return path and body: of a conversation, or of a plain prompt without a template."""
        plain = plain_text(messages)
        asked: dict[str, Any] = (
            {"messages": [dict(message) for message in messages]}
            if plain is None
            else {"prompt": plain, "raw": True}
        )
        body = {
            "model": tag,
            **asked,
            "options": dict(options),
            # Newer servers then refuse what is too long instead of cutting it in silence.
            "truncate": False,
            "shift": False,
        }
        if think is not None and plain is None:
            body["think"] = think
        return "/api/chat" if plain is None else "/api/generate", body

    def next_tokens(
        self,
        tag: str,
        messages: Sequence[Message],
        top: int = 20,
        *,
        options: Mapping[str, Any] | None = None,
        think: bool | None = None,
    ) -> tuple[Chance, ...] | None:
        """Return the likeliest next tokens after a conversation, likeliest first.

        Args:
            tag: The model.
            messages: The conversation.
            top: How many, 20 at most.
            options: Further parameters, such as num_ctx.
            think: As for :meth:`chat`.

        Returns:
            None where the server gives no log-probabilities: an older one, or a first token that
            ends the answer.
        """
        return self.probe(tag, messages, top, options=options, think=think).chances or None

    def probe(
        self,
        tag: str,
        messages: Sequence[Message],
        top: int = 20,
        *,
        options: Mapping[str, Any] | None = None,
        think: bool | None = None,
    ) -> Probe:
        """Return what :meth:`next_tokens` does, and how many tokens the server read."""
        greedy = {**(options or {}), "temperature": 0.0, "repeat_penalty": 1.0, "num_predict": 1}
        path, body = self._request(tag, messages, greedy, think)
        body |= {"stream": False, "logprobs": True, "top_logprobs": top}
        answer = self._transport.ask("POST", path, f"a token of {tag}", body, seconds=LOAD_SECONDS)
        return read_probe(answer)

    def embed(self, tag: str, texts: Sequence[str]) -> dict[str, Any]:
        """Return the raw answer of ``/api/embed``; a text that is too long is refused, not cut."""
        body = {"model": tag, "input": list(texts), "truncate": False}
        doing = f"embedding by {tag}"
        return self._transport.ask("POST", "/api/embed", doing, body, seconds=self.timeout)

    def unload(self, tag: str) -> None:
        """Ask the server to free a model's memory."""
        body = {"model": tag, "keep_alive": 0}
        self._transport.ask("POST", "/api/generate", f"unloading {tag}", body)


def _blocks(path: Path, size: int, progress: Progress) -> Iterator[bytes]:
    """Read a file for an upload; what it grew by meanwhile is not sent.

    Raises:
        BundleError: If it has become shorter.
    """
    left = size
    with path.open("rb") as file:
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise BundleError(
                    f"{path} changed while it was sent: it ends {left} bytes too early. Check the "
                    "bundle (loragraft export verify) and try again."
                )
            yield block
            left -= len(block)
            progress.advance(len(block))
