"""An embedding model on an Ollama server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.embedding.answers import vectors_of
from loragraft.embedding.batches import OnDone, in_batches
from loragraft.embedding.spec import EmbedderSpec
from loragraft.embedding.tokens import EstimatedTokens, Tokens, file_tokens
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND = "ollama"
DEFAULT_MAX_TOKENS = 512
"""Where the model does not say: what most embedding models read."""
_SPECIAL = 2
_SECONDS = 600.0
"""For one batch: the first waits for the model to load."""


class OllamaEmbedder:
    """Embeds by ``/api/embed``; a text that is too long is refused, never cut."""

    def __init__(self, spec: EmbedderSpec) -> None:
        """Ask the server for the model.

        Raises:
            UnavailableError: If no server answers.
            InputError: If it has no such model.
            TokenizerError: If the tokenizer that is named cannot be read.
        """
        self._server = OllamaServer(spec.url, timeout=_SECONDS)
        self._spec = spec
        self._tokens: Tokens = (
            file_tokens(Path(spec.tokenizer)) if spec.tokenizer else EstimatedTokens()
        )
        self._shown: dict[str, Any] = self._server.show(spec.name)

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._spec.name

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Kind, and the digest of the model as the server has it."""
        wanted = {self._spec.name.lower(), f"{self._spec.name.lower()}:latest"}
        for model in self._server.models():
            if str(model["name"]).lower() in wanted:
                prompts = f"{self._spec.query_prompt or ''}\n{self._spec.document_prompt or ''}"
                found = {"kind": KIND, "model": str(model.get("digest", ""))}
                return found if prompts == "\n" else {**found, "prompts": prompts}
        raise InputError(
            f"{self._server.url} answers for {self._spec.name} but does not list it. Give the "
            "name that `ollama list` shows."
        )

    @cached_property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.embed(["."]).shape[1])

    @cached_property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, special ones apart."""
        if self._spec.max_tokens:
            return self._spec.max_tokens
        info = self._shown.get("model_info")
        lengths = [
            value
            for key, value in (info.items() if isinstance(info, dict) else ())
            if str(key).endswith(".context_length") and type(value) is int and value > 0
        ]
        return min(lengths, default=DEFAULT_MAX_TOKENS) - _SPECIAL

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
            LoragraftError: In words, whatever the server says.
        """
        prompt = (self._spec.query_prompt if query else self._spec.document_prompt) or ""

        def send(batch: list[str]) -> NDArray[np.float32]:
            texts = [prompt + text for text in batch]
            answer = self._server.embed(self._spec.name, texts)
            return vectors_of(answer.get("embeddings"), len(batch), self._server.url)

        return in_batches(texts, max(1, self._spec.batch), send, on_done)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()
