"""Load a base whole and put an adapter on it, with every key accounted for.

PEFT 0.21 warns of missing keys only, reports left-over ones only in what ``load_adapter``
returns, and takes neither for an error. Here both are returned, or are errors.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.locate import AdapterLocation, locate_adapter
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.bases import quantization_of
from loragraft.checkpoint.model import Checkpoint, read_json
from loragraft.errors import AdapterError, CheckpointError, MissingExtraError, UnsupportedError

PEFT_WEIGHTS = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
_EXTRAS: Mapping[str, str] = {"sentence_transformers": "rag", "scipy": "rag"}
"""Which extra brings a package; all others stand in ``peft``."""
OVERHEAD_BYTES = 1 << 30
"""Memory of torch, transformers and peft, activations and copies of one weight matrix."""
_TYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_SILENT = 60
"""Above every level of Python's logging."""
_EMBEDDINGS = ("embed_tokens.", "wte.", "word_embeddings.", "lm_head.")


@dataclass(frozen=True)
class Attached:
    """An adapter on a model.

    Attributes:
        model: The ``PeftModel``.
        missing: Parameters of the adapter that the file did not fill.
        unexpected: Keys of the file that landed nowhere.
    """

    model: Any
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def require_packages(purpose: str, *packages: str) -> None:
    """Raise unless packages of the optional extras are installed.

    Args:
        purpose: What needs them, as the subject of a sentence.
        packages: Names to import.

    Raises:
        MissingExtraError: Naming the first that is not, and the extra that brings it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, _EXTRAS.get(package, "peft"), purpose)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings, reports and progress bars away: what they say is measured."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(_SILENT)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_causal(base: Path, purpose: str, *, dtype: str = "float32") -> Any:  # noqa: ANN401
    """Load a causal language model whole, on the CPU.

    Args:
        base: The checkpoint's folder.
        purpose: What needs it, as the subject of a sentence.
        dtype: ``float32``, ``float16`` or ``bfloat16``.

    Raises:
        CheckpointError: If weights of the model are missing, or transformers cannot load it.
        UnsupportedError: If the base is quantized.
        OutOfMemoryError: If it does not fit.
    """
    kind = quantization_of(read_json(base / "config.json"))
    if kind is not None:
        raise UnsupportedError(
            f"{base} is quantized by {kind}; {purpose} runs on full-precision weights. Give the "
            "model it was quantized from."
        )
    with Checkpoint(base) as checkpoint:
        size = sum(info.size for info in checkpoint.tensors.values()) * _TYPE_BYTES[dtype]
    require_memory(size + OVERHEAD_BYTES, purpose, "The static checks need almost none.")
    return load_checkpoint(base, dtype).eval()


def load_checkpoint(base: Path, dtype: str, **options: Any) -> Any:  # noqa: ANN401 - of transformers
    """Load a causal language model whole, on the CPU, with every weight of its there.

    Args:
        base: The checkpoint's folder.
        dtype: A type of torch, by name.
        **options: More for ``from_pretrained``.

    Raises:
        CheckpointError: If weights of the model are missing, or transformers cannot load it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    try:
        model, loaded = loader.from_pretrained(
            str(base), dtype=getattr(torch, dtype), output_loading_info=True,
            local_files_only=True, **options,
        )  # fmt: skip
    except Exception as error:  # what a strange config.json raises is of many kinds
        raise CheckpointError(
            f"transformers cannot load {base}: {_first_lines(error)}. Download it again, or "
            "upgrade transformers."
        ) from error
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{base} lacks {len(missing)} weights of its model: {', '.join(missing[:5])}. "
            "Download it again."
        )
    return model


@contextmanager
def peft_folder(location: AdapterLocation) -> Iterator[Path]:
    """Give an adapter the names that PEFT reads, by links in a temporary folder if need be.

    Raises:
        UnsupportedError: If it is an MLX adapter.
    """
    if location.format == "mlx":
        raise UnsupportedError(
            f"{location.folder} is an MLX adapter, which PEFT cannot read. Export it with "
            "--engine stream."
        )
    if location.weights == location.folder / PEFT_WEIGHTS and location.config.name == PEFT_CONFIG:
        yield location.folder
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(location.config, folder / PEFT_CONFIG)
        try:
            os.symlink(location.weights.resolve(), folder / PEFT_WEIGHTS)
        except OSError:  # Windows without the right to make links
            shutil.copyfile(location.weights, folder / PEFT_WEIGHTS)
        yield folder


def attach(model: Any, folder: Path, shown: Path) -> Attached:  # noqa: ANN401
    """Put an adapter on a model for inference, as ``PeftModel.from_pretrained`` does.

    Args:
        model: Any torch module whose names fit; it is changed.
        folder: The adapter, with PEFT's own file names.
        shown: The path for messages.

    Raises:
        AdapterError: If sizes differ or PEFT refuses the configuration.
        UnsupportedError: If the type changes no weights.
    """
    from peft import PeftConfig, PeftModel

    try:
        config = PeftConfig.from_pretrained(str(folder))
        if config.is_prompt_learning or getattr(config, "is_adaption_prompt", False):
            raise UnsupportedError(
                f"{shown} is of type {config.peft_type.value}: it adds inputs and changes no "
                "weights, so there is nothing to merge or to compare. Serve it with PEFT."
            )
        config.inference_mode = True
        wrapped: Any = PeftModel(model, config)
        result: Any = wrapped.load_adapter(str(folder), "default", torch_device="cpu")
    except KeyError as error:
        raise AdapterError(
            f"{shown} lacks the weights {error}, which it asks for. Fetch the whole file again."
        ) from error
    except UnsupportedError:
        raise
    except Exception as error:  # PEFT, given a stranger's configuration, may fail in any way
        raise AdapterError(
            f"{shown} does not fit the base: {_first_lines(error)}. "
            "Give the base it was trained on."
        ) from error
    wrapped.eval()
    return Attached(wrapped, tuple(result.missing_keys), tuple(result.unexpected_keys))


def attach_strictly(model: Any, folder: Path, shown: Path) -> Attached:  # noqa: ANN401
    """Put an adapter on a model, or raise if any key is missing or left over.

    Raises:
        AdapterError: If keys do not match, or as :func:`attach` does.
    """
    attached = attach(model, folder, shown)
    parts = [
        f"{len(keys)} {label} ({', '.join(keys[:3])})"
        for label, keys in (
            ("missing", attached.missing),
            ("that land nowhere", attached.unexpected),
        )
        if keys
    ]
    if parts:
        raise AdapterError(
            f"Keys of {shown} do not match the base: {'; '.join(parts)}. It was trained on "
            "another base or saved at another level; loragraft adapter diagnose tells which."
        )
    return attached


def put_on(model: Any, adapter: Path) -> Any:  # noqa: ANN401
    """Put an adapter on a model for inference, every key accounted for.

    Args:
        model: The base; its vocabulary grows to that of the adapter, where it has one of its own.
        adapter: The adapter's path.

    Raises:
        AdapterError: If it cannot be read, or its keys do not match.
        UnsupportedError: If PEFT cannot read it, or it changes no weights.
    """
    location = locate_adapter(adapter)
    with open_adapter(adapter) as opened:
        fit_vocabulary(model, opened)
    with peft_folder(location) as folder:
        return attach_strictly(model, folder, location.folder).model


def _first_lines(error: Exception, count: int = 3) -> str:
    """Return the start of an error of torch, which may list every tensor of a model."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    more = f" (and {len(lines) - count} lines more)" if len(lines) > count else ""
    return " ".join(lines[:count]).rstrip(".") + more


def fit_vocabulary(model: Any, adapter: Adapter) -> None:  # noqa: ANN401
    """Give a model the rows of vocabulary that an adapter's own embeddings have."""
    rows = _vocabulary_rows(adapter)
    if rows is not None and rows != int(model.get_input_embeddings().weight.shape[0]):
        model.resize_token_embeddings(rows, mean_resizing=False)


def _vocabulary_rows(adapter: Adapter) -> int | None:
    for name, key in adapter.saved.items():
        shape = adapter.tensors[key].shape
        if any(part in name for part in _EMBEDDINGS) and len(shape) == 2:
            return shape[0]
    for module in adapter.modules.values():
        if module.kind == "embedding":
            return module.in_features
        if module.name.endswith("lm_head"):
            return module.out_features
    return None


def adapter_layers(model: Any) -> Sequence[tuple[str, Any]]:  # noqa: ANN401
    """Return the name and the module of every layer that PEFT has put into a model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]
