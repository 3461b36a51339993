"""What names an embedder, as a command line or an index says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from loragraft.checkpoint.resolve import existing_path
from loragraft.errors import InputError

Kind = Literal["auto", "sentence-transformers", "model2vec", "openai", "ollama"]
KINDS: tuple[Kind, ...] = ("auto", "sentence-transformers", "model2vec", "openai", "ollama")

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
DEFAULT_BATCH = 32
"""Texts in one forward pass, sentence-transformers' own default: on a CPU larger ones gain
nothing."""


@dataclass(frozen=True)
class EmbedderSpec:
    """An embedder that can be opened.

    Attributes:
        name: A folder, a repository of the Hub, or a model's name at an endpoint.
        adapter: Path of a LoRA adapter, for a SentenceTransformer.
        kind: What it is; ``auto`` finds out, and takes ``ollama:NAME`` and ``openai:NAME`` too.
        batch: Texts in one forward pass or request.
        url: Of an endpoint: the API's base.
        api_key_env: Environment variable with the endpoint's key; keys are never stored.
        max_tokens: What an endpoint's model reads, where it does not say so itself.
        tokenizer: Folder or file of an endpoint's tokenizer; counts are estimates without.
        query_prompt: Put before questions, where the model names none itself.
        document_prompt: Put before documents, where the model names none itself.
    """

    name: str = DEFAULT_EMBEDDER
    adapter: str | None = None
    kind: Kind = "auto"
    batch: int = DEFAULT_BATCH
    url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    max_tokens: int | None = None
    tokenizer: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, for an index; what is as usual is left out.

        Paths become absolute: the index is asked from other folders too.
        """
        usual = asdict(EmbedderSpec())
        values = {k: v for k, v in asdict(self).items() if k == "name" or v != usual[k]}
        for key in ("name", "adapter", "tokenizer"):
            path = existing_path(values[key]) if values.get(key) else None
            if path is not None:
                values[key] = str(path.absolute())
        return values


def spec_from_json(value: Mapping[str, Any]) -> EmbedderSpec:
    """Return the embedder that an index names.

    Raises:
        InputError: If it names none that can be opened.
    """
    try:
        spec = EmbedderSpec(**value)
    except TypeError as error:
        raise InputError(
            f"The index names its embedder in a way that is not understood ({error}). Give "
            "--embedder."
        ) from None
    texts = (spec.adapter, spec.url, spec.tokenizer, spec.query_prompt, spec.document_prompt)
    right = all(isinstance(text, str) for text in (spec.name, spec.kind, spec.api_key_env))
    right = right and all(text is None or isinstance(text, str) for text in texts)
    right = right and all(type(n) is int for n in (spec.batch, spec.max_tokens or 0))
    if not right or spec.kind not in KINDS:
        raise InputError("The index names no embedder that can be opened. Give --embedder.")
    return spec
