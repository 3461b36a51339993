"""SentenceTransformers: load one, find the encoder inside, embed by the usual call and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.peft_loading import OVERHEAD_BYTES
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.model import read_json
from loragraft.checkpoint.safetensors import read_header
from loragraft.errors import CheckpointError, UnsupportedError

MODULES_FILE = "modules.json"

PROBE_SENTENCES = (
    "The cat sleeps on the warm windowsill.",
    "A feline is napping where the sun comes in.",
    "Interest rates rose by a quarter of a point on Tuesday.",
    "How do I reset the password of my account?",
    "Mitochondria produce most of the chemical energy of a cell.",
    "No.",
    "def add(a, b): return a + b",
    "Der Zug nach Wien hat zwanzig Minuten Verspätung.",
)
"""Near and far, short and long, prose, a question, code and another language: an adapter that
changes anything changes some of these."""


def is_embedder(base: Path) -> bool:
    """Say whether a folder holds a SentenceTransformer."""
    return (base / MODULES_FILE).is_file()


def encoder_folder(base: Path) -> Path:
    """Return the folder of a SentenceTransformer's encoder, which ``modules.json`` names first.

    Raises:
        CheckpointError: If the file is broken or names a folder outside.
    """
    import json

    path = base / MODULES_FILE
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        inside = str(modules[0]["path"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not list a SentenceTransformer's modules ({error}). Download it again."
        ) from None
    folder = (base / inside).resolve()
    if not folder.is_relative_to(base.resolve()):
        raise CheckpointError(f"{path} names {inside!r}, which is outside of {base}.")
    return base / inside if inside else base


def load_embedder(base: Path) -> Any:  # noqa: ANN401 - a SentenceTransformer
    """Load a SentenceTransformer in float32 on the CPU, without its default prompt.

    Raises:
        CheckpointError: If it cannot be loaded.
        UnsupportedError: If its first module holds no encoder.
        OutOfMemoryError: If it does not fit.
    """
    from sentence_transformers import SentenceTransformer

    folder = encoder_folder(base)
    read_json(folder / "config.json")
    shards = [read_header(file)[0] for file in sorted(folder.glob("*.safetensors"))]
    values = sum(info.size for tensors in shards for info in tensors.values())
    require_memory(
        values * 4 + OVERHEAD_BYTES, f"Loading {base.name} in float32",
        "The static checks need almost none.",
    )  # fmt: skip
    try:
        model: Any = SentenceTransformer(str(base), device="cpu", local_files_only=True)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"sentence-transformers cannot load {base}: {error}. Download it again, or upgrade "
            "sentence-transformers."
        ) from error
    encoder_slot(model)
    model.default_prompt_name = None
    return model.float().eval()


def encoder_slot(model: Any) -> tuple[Any, str]:  # noqa: ANN401
    """Return the module that holds the encoder, and under which name.

    Up to sentence-transformers 5.3 the name is ``auto_model``; since 5.4 it is ``model``, and
    ``auto_model`` a property that can only be read.

    Raises:
        UnsupportedError: If there is neither.
    """
    first = model[0]
    children = dict(first.named_children())
    for name in ("model", "auto_model"):
        if name in children:
            return first, name
    raise UnsupportedError(
        f"The first module of this SentenceTransformer is a {type(first).__name__}, which holds "
        "no transformers model. Adapters go onto encoders of transformers."
    )


def get_encoder(model: Any) -> Any:  # noqa: ANN401
    """Return the transformers model inside a SentenceTransformer."""
    first, name = encoder_slot(model)
    return getattr(first, name)


def set_encoder(model: Any, encoder: Any) -> None:  # noqa: ANN401
    """Put another encoder into a SentenceTransformer."""
    first, name = encoder_slot(model)
    setattr(first, name, encoder)


def embed(model: Any, texts: Sequence[str]) -> NDArray[np.float32]:  # noqa: ANN401
    """Embed texts by the usual call; shape ``[texts, width]``, float32."""
    vectors = model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)


def embed_by_hand(
    model: Any,  # noqa: ANN401
    encoder: Any,  # noqa: ANN401
    texts: Sequence[str],
) -> NDArray[np.float32]:
    """Embed texts by a forward pass of an encoder and the modules after it, without ``encode``.

    Args:
        model: The SentenceTransformer, for its tokenizer and the modules after the encoder.
        encoder: What is called: the plain encoder, or the ``PeftModel`` around it.
        texts: What to embed, in one batch.
    """
    import torch

    tokenize = getattr(model, "preprocess", None) or model.tokenize
    features = {k: v for k, v in tokenize(list(texts)).items() if isinstance(v, torch.Tensor)}
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        output = encoder(**{name: features[name] for name in names if name in features})
        state: dict[str, Any] = {**features, "token_embeddings": output.last_hidden_state}
        for module in list(model)[1:]:
            state = module(state)
    vectors: NDArray[np.float32] = state["sentence_embedding"].float().numpy()
    return vectors
