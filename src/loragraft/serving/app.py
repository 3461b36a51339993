"""llama-cpp-python's own server around one model, with our template and our stops in force."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from loragraft.checkpoint.bundle import LocalModel
from loragraft.checkpoint.turn_ends import stop_tokens
from loragraft.engine.conversation import ChatTemplate
from loragraft.engine.llama import check_file
from loragraft.engine.llama_gpu import choose_gpu_layers
from loragraft.engine.llama_log import keep_log_quiet
from loragraft.engine.llama_model import BATCH
from loragraft.engine.threads import choose_threads
from loragraft.errors import BundleError, MissingExtraError, TemplateError
from loragraft.serving.answers import Answers
from loragraft.serving.gate import Gate
from loragraft.serving.refusal import error_body
from loragraft.serving.requests import Asked, check_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from starlette.requests import Request

EXTRA, PURPOSE = "serve", "Serving a model"
PACKAGES = ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")
CONFIG_VARIABLE = "CONFIG_FILE"
"""By this variable llama-cpp-python's server would take other settings than ours."""
NEUTRAL_PENALTY = 1.0
"""Of repetition, where a request does not say: the server's own 1.1 changes what was trained."""


@dataclass(frozen=True)
class Serving:
    """How a model is served.

    Attributes:
        context: Tokens; None for the model's own maximum, at most 8,192.
        threads: 0 for all cores.
        api_key: What clients must send; None lets every program on this machine ask.
        origins: Web pages that browsers may let ask, beside none.
        think: Switch thinking, where the template knows it; None leaves it as it is.
        gpu_layers: Layers that a GPU computes; None for all, where there is one.
    """

    context: int | None = None
    threads: int = 0
    api_key: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    think: bool | None = None
    gpu_layers: int | None = None


@dataclass(frozen=True)
class Served:
    """A loaded model behind its application.

    Attributes:
        app: What a web server runs.
        llama: The model, llama-cpp-python's ``Llama``.
        context: Tokens of its context.
        answers: What makes its answers; its ``stop`` ends them all at their next token.
        notes: What a user should know.
    """

    app: FastAPI
    llama: Any
    context: int
    answers: Answers
    notes: tuple[str, ...] = ()

    def close(self) -> None:
        """End all answers, and free the model once nothing computes any more."""
        self.answers.close()


def require_packages() -> None:
    """Refuse early where the server's packages are not installed.

    Raises:
        MissingExtraError: Naming the first that is missing.
    """
    from importlib.util import find_spec

    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, EXTRA, PURPOSE)


def build_app(model: LocalModel, serving: Serving) -> Served:
    """Load a model and build the application around it.

    Raises:
        MissingExtraError: If the server's packages are not installed.
        BundleError: If the file is broken or has no chat template.
        OutOfMemoryError: If the machine has too little memory.
    """
    require_packages()
    checked = check_file(model, serving.context)
    if checked.template is None:
        raise TemplateError(
            f"{model.gguf} has no chat template, so nobody knows how its training wrote a "
            "conversation. Add the chat_template to the checkpoint and export it again."
        )
    stops = stop_tokens(checked.facts, model.stops)
    layers = choose_gpu_layers(serving.gpu_layers)
    app = _create(model, serving, checked.context, layers.count)
    llama = _current_model()
    render = _renderer(checked.template, checked.prepare, serving.think)
    llama.chat_handler = _chat_handler(render)
    answers = Answers(llama, model.name, frozenset(stops.ids))
    _answer_errors(app)
    _guard(app, serving, answers.stop, _asked(llama, render, checked.context, answers))
    notes = [*stops.warnings, *checked.notes, *filter(None, [layers.note])]
    if serving.think is not None and not checked.template.switches:
        notes.append(f"{model.name} has no switch for thinking in its chat template.")
    return Served(app, llama, checked.context, answers, tuple(notes))


def _create(model: LocalModel, serving: Serving, context: int, gpu_layers: int) -> FastAPI:
    threads = choose_threads(serving.threads)
    _neutral_penalty()  # before the application reads the types of requests
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    keep_log_quiet()
    # Without validation: that would fill what is not said from variables such as HOST or API_KEY.
    model_settings = ModelSettings.model_construct(
        model=str(model.gguf), model_alias=model.name, n_ctx=context, n_gpu_layers=gpu_layers,
        n_batch=min(BATCH, context), n_ubatch=min(BATCH, context), n_threads=threads,
        n_threads_batch=threads, logits_all=False, verbose=False,
        flash_attn=True,  # as llama.cpp itself and `chat` do: nearly equal tokens part otherwise
    )  # fmt: skip
    server_settings = ServerSettings.model_construct(
        api_key=serving.api_key, interrupt_requests=False
    )
    try:
        with _without_variable(CONFIG_VARIABLE):
            app: FastAPI = create_app(
                server_settings=server_settings, model_settings=[model_settings]
            )
    except (ValueError, AssertionError) as error:
        raise BundleError(f"llama-cpp-python cannot serve {model.gguf}: {error}.") from error
    return app


def _neutral_penalty() -> None:
    from llama_cpp.server import types

    for request in (types.CreateChatCompletionRequest, types.CreateCompletionRequest):
        request.model_fields["repeat_penalty"].default = NEUTRAL_PENALTY
        request.model_rebuild(force=True)


def _current_model() -> Any:  # noqa: ANN401 - llama_cpp.Llama
    from llama_cpp.server import app

    assert app._llama_proxy is not None
    return app._llama_proxy()


@contextmanager
def _without_variable(name: str) -> Iterator[None]:
    before = os.environ.pop(name, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before


def _renderer(
    template: ChatTemplate, prepare: Callable[[str], str], think: bool | None
) -> Callable[..., str]:
    """Return what writes conversations as the training did.

    Args:
        template: The model's own.
        prepare: What its tokenizer does to a text before llama.cpp's sees it.
        think: Switch thinking, where the template knows it.
    """

    def render(messages: Sequence[Any], **known: Any) -> str:  # noqa: ANN401 - tools
        return prepare(template.render(messages, think=think, **known))

    return render


def _chat_handler(render: Callable[..., str]) -> Any:  # noqa: ANN401 - its protocol is not exported
    """Return a handler that renders conversations as the training did."""
    from llama_cpp import llama_chat_format

    def render_messages(*, messages: Sequence[Any], **more: Any) -> Any:  # noqa: ANN401
        known = {name: more[name] for name in ("tools", "functions") if more.get(name)}
        # added_special: nothing is put in front of what the template wrote.
        return llama_chat_format.ChatFormatterResponse(
            prompt=render(messages, **known), added_special=True
        )

    return llama_chat_format.chat_formatter_to_chat_completion_handler(render_messages)


def _asked(llama: Any, render: Callable[..., str], context: int, answers: Answers) -> Asked:  # noqa: ANN401 - llama_cpp.Llama
    """Return what requests are checked against."""
    import llama_cpp

    vocabulary = llama._model.vocab

    def tokenize(text: str) -> list[int]:
        return list(llama.tokenize(text.encode(), add_bos=True, special=True))

    def parses(grammar: str) -> bool:
        # Without its sampler llama-cpp-python would hand on a null pointer and crash.
        sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
        if sampler:
            llama_cpp.llama_sampler_free(sampler)
        return bool(sampler)

    return Asked(
        render, answers.while_open(tokenize), context, llama.n_vocab(), answers.while_open(parses)
    )


def _answer_errors(app: FastAPI) -> None:
    """Say errors in OpenAI's shape, those of the framework too."""
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse

    def say(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        body = error_body(error.status_code, str(error.detail))
        return JSONResponse(body, error.status_code, error.headers)

    app.add_exception_handler(HTTPException, say)


def _guard(app: FastAPI, serving: Serving, stop: Event, asked: Asked) -> None:
    """Let only requests in that can be answered, and no web page that was not named.

    llama-cpp-python's server allows every origin. Without a key any page that the user visits
    could talk with the model; checking the host keeps out names that were bent to this machine.
    """
    from fastapi.middleware.cors import CORSMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    open_to_all: Any = CORSMiddleware
    app.user_middleware = [kind for kind in app.user_middleware if kind.cls is not open_to_all]
    # The last that is added is the first that is asked.
    app.add_middleware(Gate, key=serving.api_key, stop=stop,
                       check=partial(check_request, asked=asked))  # fmt: skip
    if serving.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(serving.origins), allow_methods=["*"],
            allow_headers=["*"],
        )  # fmt: skip
    if serving.api_key is None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL_NAMES))
