"""What goes wrong with an Ollama server, in words: what was found, what was expected, what to do.

The server's own words are those of Ollama 0.24 to 0.32, read in its source and seen in answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from loragraft.errors import (
    BundleError,
    InputError,
    LoragraftError,
    OutOfMemoryError,
    OutOfSpaceError,
    TemplateError,
    UnavailableError,
    UnsupportedError,
)

EMBEDDED = (
    "Without a server, loragraft chat BUNDLE and loragraft serve BUNDLE run the same model in "
    "this process."
)
START = (
    "Start it with: ollama serve (or open the desktop application), or set OLLAMA_HOST to where "
    "it runs."
)
MAX_WORDS = 400
"""Characters of a server's own words that are shown: a stack trace or a web page helps nobody."""


class DownError(UnavailableError):
    """No server is there."""


class SilentError(UnavailableError):
    """A server is there and says nothing more."""


@dataclass(frozen=True)
class _Case:
    """One kind of failure: what the server says, our error, and what to do."""

    marks: tuple[str, ...]
    kind: Callable[[str], LoragraftError]
    step: str


_CASES = (
    _Case(
        ("no space left on device", "disk quota exceeded", "not enough space", "disk full",
         "insufficient disk space"),
        OutOfSpaceError,
        "The disk of Ollama's models (OLLAMA_MODELS, by default ~/.ollama/models) is full: remove "
        "models with ollama rm, or give it another folder, and run the command again.",
    ),
    _Case(
        ("digest mismatch",),
        UnavailableError,
        "What arrived is not what was sent: the file changed meanwhile, or something on the way "
        "alters it. Check the bundle (loragraft export verify) and try again.",
    ),
    _Case(
        ("requires more system memory", "out of memory", "insufficient memory",
         "cannot allocate memory", "failed to allocate"),
        OutOfMemoryError,
        "Close other models (ollama stop NAME), choose a smaller num_ctx or a smaller "
        "quantization.",
    ),
    _Case(
        ("exceeds the available context", "exceeds maximum context", "exceeds context length",
         "input length exceeds", "exceed_context_size", "prompt is too long"),
        InputError,
        "Shorten the conversation (/reset), or raise num_ctx.",
    ),
    _Case(
        ("does not support thinking",),
        InputError,
        "The model's template knows no thinking: leave --think out.",
    ),
    _Case(
        ("template error", "template:", "chat template", "jinja"),
        TemplateError,
        "Look at the model's TEMPLATE: loragraft ollama modelfile BUNDLE.",
    ),
    _Case(
        ("invalid model name", "is invalid"),
        InputError,
        "Names are MODEL[:TAG] with letters, digits, '.', '-' and '_'.",
    ),
    _Case(
        ("option ", "invalid option", "invalid type for option"),
        InputError,
        "A parameter of the model has a value that this server cannot take.",
    ),
    _Case(
        ("not in gguf format", "invalid file magic", "unexpected eof", "exceeds file size",
         "unable to load model", "error loading model", "failed to load model", "missing tensor",
         "wrong number of tensors", "invalid gguf"),
        BundleError,
        "The server cannot load this GGUF. Check it with loragraft export verify; if it is sound, "
        "update Ollama: an older one may not know the model's family.",
    ),
    _Case(
        ("unknown model architecture", "unsupported architecture", "unsupported model"),
        UnsupportedError,
        f"This server does not know the model's family: update Ollama. {EMBEDDED}",
    ),
    _Case(
        ("runner process has terminated", "runner process no longer running", "llama runner",
         "runner crashed", "signal: killed"),
        UnavailableError,
        "Ollama's own process for the model ended: its log says why (ollama serve prints it; "
        "journalctl -u ollama). Often memory ran out, or the file is broken: loragraft export "
        "verify.",
    ),
    _Case(
        ("timed out waiting", "server busy", "maximum pending requests"),
        UnavailableError,
        "The server is busy: wait until it has answered others, and try again.",
    ),
)  # fmt: skip


def explain_answer(url: str, doing: str, status: int | None, body: str) -> LoragraftError:
    """Return our error for an answer that is a refusal.

    Args:
        url: The server's address.
        doing: What was asked, as "creating the model x".
        status: HTTP status; None for an error inside a stream that began well.
        body: The whole answer, or the error's text.
    """
    words = error_words(body)
    if words is None:
        return _explain_foreign(url, doing, status, body)
    low = words.lower()
    start = f"Ollama at {url} failed at {doing}: {_short(words)}. "
    for case in _CASES:
        if any(mark in low for mark in case.marks):
            return case.kind(start + case.step)
    if status == 404 and "not found" in low:
        return InputError(f"{start}See what is there with: ollama list.")
    if status in (401, 403):
        return UnavailableError(f"{start}Set OLLAMA_API_KEY, or ask who runs that server.")
    return UnavailableError(
        f"{start}Its log says more (ollama serve prints it; journalctl -u ollama)."
    )


def error_words(body: str) -> str | None:
    """Return the words of Ollama's own error object; None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    words = value.get("error") if isinstance(value, dict) else None
    if isinstance(words, dict):  # llama.cpp's server nests it, and newer Ollama passes it on
        words = words.get("message")
    return words if isinstance(words, str) and words else None


def _explain_foreign(url: str, doing: str, status: int | None, body: str) -> LoragraftError:
    """Explain an answer that is not of Ollama's form."""
    text = body.strip()
    if status in (404, 405, 501):
        return UnavailableError(
            f"The server at {url} does not know the request for {doing} ({status}). An older "
            "Ollama lacks it, or another program answers there: update Ollama (ollama --version "
            f"shows which it is), or correct OLLAMA_HOST. {EMBEDDED}"
        )
    if status in (401, 403, 407):
        return UnavailableError(
            f"The server at {url} refuses {doing} ({status}): a proxy, or Ollama itself for a "
            "host name it does not know, forbids it. Set OLLAMA_API_KEY, or reach it by its IP "
            "address."
        )
    if status == 413:
        return UnavailableError(
            f"Something in front of Ollama at {url} takes no file of this size ({status}). Raise "
            "its limit (nginx: client_max_body_size 0), or reach Ollama directly."
        )
    if status in (502, 503, 504):
        return UnavailableError(
            f"A proxy at {url} answers {status} for {doing}: Ollama behind it is down or too "
            f"slow. {START} {EMBEDDED}"
        )
    kind = "a web page" if text[:200].lower().startswith(("<!doctype", "<html")) else "no JSON"
    return UnavailableError(
        f"What answers at {url} sends {kind} for {doing} (status {status}: "
        f"{_short(text[:120])!r}); Ollama's API was expected. Correct OLLAMA_HOST."
    )


def explain_transport(url: str, doing: str, error: Exception) -> LoragraftError:
    """Return our error for a connection that failed, broke or fell silent."""
    import httpx

    words = _short(str(error).strip() or type(error).__name__)
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | ConnectionError):
        if "CERTIFICATE_VERIFY_FAILED" in words:
            return UnavailableError(
                f"The certificate of {url} is not to be trusted: {words}. Nothing was sent."
            )
        return DownError(f"No Ollama answers at {url} ({words}). {START} {EMBEDDED}")
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        return silent(url, doing)
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return InputError(f"{url} is no address that can be reached: {words}. Set OLLAMA_HOST.")
    return UnavailableError(
        f"The connection to Ollama at {url} broke during {doing} ({words}). If it happens again, "
        "look at its log: it may have crashed or its disk may be full."
    )


def silent(url: str, doing: str) -> UnavailableError:
    """Return our error for a server that says nothing more."""
    return SilentError(
        f"Ollama at {url} fell silent during {doing}. It may be loading a large model or hang: "
        "see what runs with ollama ps, try again, or restart it."
    )


def too_long(url: str, doing: str, seconds: float) -> UnavailableError:
    """Return our error for an answer that never ends."""
    return SilentError(
        f"Ollama at {url} did not end {doing} within {seconds:g} seconds; it was stopped. The "
        "model may have no stop token (loragraft ollama verify finds out), or the machine is slow."
    )


def redirected(url: str, target: str) -> InputError:
    """Return our error for an address that sends on to another."""
    return InputError(
        f"{url} sends on to {_short(target)!r}: give that address in OLLAMA_HOST. It is not "
        "followed, since models and conversations would go where nobody asked for."
    )


def not_understood(url: str, doing: str, what: str) -> UnavailableError:
    """Return our error for an answer of another form than Ollama's."""
    return UnavailableError(
        f"The answer of {url} for {doing} is not of Ollama's form: {_short(what)}. Update Ollama, "
        "or correct OLLAMA_HOST."
    )


def _short(text: str) -> str:
    """Return a server's words on one line, without its last dot, control characters spelled out."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    cut = line if len(line) <= MAX_WORDS else f"{line[:MAX_WORDS]} ..."
    return cut.rstrip(".") if not cut.endswith("...") else cut
