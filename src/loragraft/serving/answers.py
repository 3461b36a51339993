"""llama-cpp-python's model made to answer so that every answer can be ended, and the model closed.

Its own server knows neither our stops nor when a client has gone: it computes to the end while
others wait. And it frees the model while a thread may still compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Lock, RLock
from typing import Any

from loragraft.engine.llama_model import BATCH
from loragraft.errors import UnavailableError
from loragraft.serving.refusal import UNAVAILABLE

HUNG_UP: ContextVar[Event | None] = ContextVar("hung_up", default=None)
"""Of the request in whose context a function runs: set once its client has gone."""
ENDING = "The server is shutting down. Ask again when it runs."
GONE = "The client has gone."


class Answers:
    """Takes the place of a ``Llama``'s ways to complete.

    Attributes:
        stop: Set to end all answers at their next token, and to refuse others.
    """

    def __init__(self, llama: Any, name: str, ends: frozenset[int]) -> None:  # noqa: ANN401
        """Put itself in place.

        Args:
            llama: The model, ``llama_cpp.Llama``.
            name: What answers say of their model; its own tells the path of the file.
            ends: Tokens that end an answer.
        """
        self.stop = Event()
        self._llama, self._name, self._ends = llama, name, ends
        self._busy, self._vocabulary = Lock(), RLock()
        self._context = int(llama.n_ctx())
        self._closed = False
        self._gone: Event | None = None
        self._create, self._eval = llama.create_completion, llama.eval
        llama.create_completion = self.complete
        llama.eval = self._eval_in_steps
        llama.tokenize = _said_to_clients()(self.while_open(llama.tokenize))

    def complete(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as Llama's own
        """Complete a prompt, as ``Llama.create_completion``."""
        from llama_cpp import StoppingCriteriaList

        gone = HUNG_UP.get()
        given = options.pop("stopping_criteria", None) or []
        at_end = self._at_end(gone)
        options.update(model=self._name, stopping_criteria=StoppingCriteriaList([*given, at_end]))
        with self._busy, _said_to_clients():
            self._begin(gone)
            made = self._create(*arguments, **options)
        return self._pieces(made, gone) if options.get("stream") else made

    def _begin(self, gone: Event | None) -> None:
        if self.stop.is_set() or self._closed:
            raise UnavailableError(ENDING)
        self._gone = gone

    def _pieces(self, made: Iterator[Any], gone: Event | None) -> Iterator[Any]:
        """Yield a stream's pieces; between them the model may be closed."""
        while True:
            with self._busy:
                if self._closed:
                    return
                self._gone = gone
                try:
                    piece = next(made, None)
                except UnavailableError:  # ended while it read the prompt
                    return
            if piece is None:
                return
            yield piece

    def _at_end(self, gone: Event | None) -> Callable[[Any, Any], bool]:
        ended = False
        last = self._context - 1

        def at_end(tokens: Any, logits: Any) -> bool:  # noqa: ANN401 - arrays
            nonlocal ended  # asked once more after the last token, for the reason of the end
            ended = ended or self._is_over(gone) or int(tokens[-1]) in self._ends
            ended = ended or len(tokens) >= last
            return ended

        return at_end

    def _is_over(self, gone: Event | None) -> bool:
        return self.stop.is_set() or (gone is not None and gone.is_set())

    def _eval_in_steps(self, tokens: Sequence[int]) -> None:
        """Read tokens, and end between two batches where nobody waits for the answer."""
        for start in range(0, len(tokens), BATCH):
            if start and self._is_over(self._gone):
                raise UnavailableError(ENDING if self.stop.is_set() else GONE)
            self._eval(tokens[start : start + BATCH])

    def close(self) -> None:
        """End all answers, wait for the computation to end, and free the model."""
        self.stop.set()
        with self._busy, self._vocabulary:
            self._closed = True
            self._llama.close()

    def while_open(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        """Return a question to the vocabulary that is not asked once the model is freed.

        It waits for no answer: llama.cpp reads its vocabulary while it computes.
        """

        def asked(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            with self._vocabulary:
                if self._closed:
                    raise UnavailableError(ENDING)
                return ask(*arguments, **options)

        return asked


@contextmanager
def _said_to_clients() -> Iterator[None]:
    from fastapi import HTTPException

    try:
        yield
    except UnavailableError as error:
        raise HTTPException(UNAVAILABLE, str(error)) from error
