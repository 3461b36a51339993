"""A SentenceTransformer, with an adapter where one is given; torch comes with the first text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loragraft.adapter.embedder import PROBE_SENTENCES, embed, encoder_folder, load_embedder
from loragraft.adapter.locate import CONFIG_NAME, AdapterLocation, locate_adapter
from loragraft.adapter.peft_loading import quiet, require_packages
from loragraft.artifact.hash_cache import cached_sha256
from loragraft.checkpoint.files import read_small
from loragraft.embedding.batches import OnDone, in_batches, unit
from loragraft.embedding.identity import folder_hash
from loragraft.embedding.spec import EmbedderSpec
from loragraft.embedding.tokens import TOKENIZER_FILE, FileTokens, file_tokens
from loragraft.errors import AdapterError, CheckpointError, NonFiniteError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "sentence-transformers"
PURPOSE = "Embedding by a SentenceTransformer"
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Under which names models keep what stands before documents; sentence-transformers tries these."""
_MOST_TOKENS = 8192
"""A configuration without a limit says something like 10^30."""


class SentenceTransformerEmbedder:
    """Embeds by the usual ``encode``, in float32."""

    def __init__(
        self,
        folder: Path,
        spec: EmbedderSpec,
        name: str,
        on_note: Callable[[str], object] | None = None,
    ) -> None:
        """Look at the files; nothing is loaded yet.

        Args:
            folder: The SentenceTransformer's.
            spec: Its adapter, batch and prompts.
            name: What a person calls it.
            on_note: Told how an adapter was read and what it changes, when it is loaded.

        Raises:
            UnsupportedError: If the folder holds an adapter without its base.
            MissingExtraError: If sentence-transformers, or PEFT for an adapter, is missing.
            CheckpointError: If a file is missing or broken.
            AdapterError: If the adapter is missing or broken.
        """
        require_packages(PURPOSE, "torch", "transformers", "sentence_transformers")
        self._folder, self._batch, self._shown = folder, max(1, spec.batch), name
        self._encoder, self._on_note = encoder_folder(folder), on_note
        _require_model(folder, self._encoder)
        self._adapter: AdapterLocation | None = None
        if spec.adapter is not None:
            require_packages("Embedding with an adapter", "peft")
            self._adapter = locate_adapter(Path(spec.adapter))
            self._shown += f" with {self._adapter.folder.absolute().name}"
        self._prompts = model_prompts(folder, spec)
        self._model: Any = None

    @property
    def name(self) -> str:
        """What a person calls the model."""
        return self._shown

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Kind, and the hashes of the model's files, the prompts and the adapter."""
        found = {"kind": KIND, "model": folder_hash(self._folder)}
        if any(self._prompts.values()):
            found["prompts"] = json.dumps(self._prompts, sort_keys=True)
        if self._adapter is not None:
            found["adapter"] = cached_sha256(self._adapter.weights)
            found["adapter_config"] = cached_sha256(self._adapter.config)
        return found

    @cached_property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.embed(["."]).shape[1])

    @cached_property
    def max_tokens(self) -> int:
        """Tokens of a document that the model reads, special ones and its prompt apart."""
        longest = _longest(self._encoder)
        if longest is None:
            longest = int(self._loaded().max_seq_length or _MOST_TOKENS)
        prompt = self._prompts["document"]
        before = self._tokens.count([prompt])[0] if prompt else 0
        return min(longest, _MOST_TOKENS) - self._tokens.special - before

    @cached_property
    def _tokens(self) -> FileTokens:
        if not (self._encoder / TOKENIZER_FILE).is_file():  # static models keep it elsewhere
            inside = sorted(self._folder.rglob(TOKENIZER_FILE))
            return file_tokens(inside[0] if inside else self._encoder)
        return file_tokens(self._encoder)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special tokens apart and nothing cut."""
        return self._tokens.count(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token's characters stand in a text, special tokens apart."""
        return self._tokens.spans(text)

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_done: OnDone | None = None
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`Embedder.embed`.

        Raises:
            CheckpointError: If the model cannot be loaded.
            AdapterError: If the adapter does not fit, or changes nothing.
        """
        model = self._loaded()
        prompt = self._prompts["query" if query else "document"] or None

        def encode(batch: list[str]) -> NDArray[np.float32]:
            vectors: NDArray[np.float32] = model.encode(
                batch, batch_size=self._batch, prompt=prompt, convert_to_numpy=True,
                normalize_embeddings=True, show_progress_bar=False,
            )  # fmt: skip
            return vectors

        lengths = self._tokens.count(texts) if len(texts) > self._batch else None
        return in_batches(texts, self._batch, encode, on_done, lengths)

    def _loaded(self) -> Any:  # noqa: ANN401
        if self._model is None:
            with quiet():
                self._model = self._load()
        return self._model

    def _load(self) -> Any:  # noqa: ANN401
        if not (self._encoder / "config.json").is_file():
            return _load_plain(self._folder)
        model = load_embedder(self._folder)
        if self._adapter is not None:
            notes = put_adapter(model, self._adapter, self._shown)
            if self._on_note is not None:
                for note in notes:
                    self._on_note(note)
        return model.to(_device())

    def close(self) -> None:
        """Forget the model."""
        self._model = None


def _require_model(folder: Path, encoder: Path) -> None:
    """Refuse what sentence-transformers saves of a model with an adapter: the adapter alone.

    It would load, but the base's weights would not count among what makes the embedder.
    """
    if (encoder / "config.json").is_file() or not (encoder / CONFIG_NAME).is_file():
        return
    base = _read(encoder / CONFIG_NAME).get("base_model_name_or_path") or "its base"
    raise UnsupportedError(
        f"{folder} holds an adapter without the model it belongs to. Give {base} as the embedder "
        "and this folder as its adapter."
    )


def put_adapter(model: Any, location: AdapterLocation, shown: str) -> tuple[str, ...]:  # noqa: ANN401
    """Merge an adapter into a loaded SentenceTransformer and check that it has an effect.

    Returns:
        How it was read, and how far it moves vectors.

    Raises:
        AdapterError: If a key does not land, or the vectors are those of the base.
        NonFiniteError: If it makes NaN or Inf.
    """
    from loragraft.adapter.merge_embedder import attach_and_merge
    from loragraft.adapter.reader import open_adapter

    plain = embed(model, PROBE_SENTENCES)
    with open_adapter(location.weights) as adapter:
        _adapted, notes = attach_and_merge(model, adapter)
    merged = embed(model, PROBE_SENTENCES)
    if not np.isfinite(merged).all():
        raise NonFiniteError(f"{shown} embeds as NaN or Inf. Take an earlier checkpoint.")
    if np.array_equal(plain, merged):
        raise AdapterError(
            f"{location.weights} changes nothing: probe sentences embed exactly as by the base. "
            "Run loragraft adapter diagnose on base and adapter."
        )
    cosines = (unit(plain) * unit(merged)).sum(axis=1)
    effect = f"{shown} moves probe sentences down to cosine {cosines.min():.4f} of the base's"
    return (*notes, effect)


def _load_plain(folder: Path) -> Any:  # noqa: ANN401
    """Load a SentenceTransformer without a transformers encoder, such as a static one."""
    from sentence_transformers import SentenceTransformer

    try:
        model: Any = SentenceTransformer(str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"sentence-transformers cannot load {folder}: {error}. Download it again, or upgrade "
            "sentence-transformers."
        ) from error
    model.default_prompt_name = None
    return model.float().eval()


def _device() -> str:
    """Return where to compute: an accelerator if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where there is no such file.

    Raises:
        CheckpointError: If it is broken.
    """
    try:
        value = json.loads(read_small(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Download it again.") from None
    return value if isinstance(value, dict) else {}


def _longest(encoder: Path) -> int | None:
    """Return the tokens that a model reads, special ones among them; None where no file says."""
    named = _read(encoder / "sentence_bert_config.json").get("max_seq_length")
    tokenizer = _read(encoder / "tokenizer_config.json").get("model_max_length")
    positions = _read(encoder / "config.json").get("max_position_embeddings")
    if type(named) is int and named > 0:
        return named
    limits = [n for n in (tokenizer, positions) if type(n) is int and 0 < n < 1 << 24]
    return min(limits, default=None)


def model_prompts(folder: Path, spec: EmbedderSpec) -> dict[str, str]:
    """Return what stands before questions and before documents."""
    named = _read(folder / "config_sentence_transformers.json").get("prompts")
    own = {k: v for k, v in named.items() if isinstance(v, str)} if isinstance(named, dict) else {}
    document = next((own[name] for name in _DOCUMENT_PROMPTS if own.get(name)), "")
    return {
        "query": own.get("query") or spec.query_prompt or "",
        "document": document or spec.document_prompt or "",
    }
