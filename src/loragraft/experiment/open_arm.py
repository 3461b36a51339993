"""From an experiment's configuration to the engine that answers, adapters included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.engine.batch.opening import open_engine
from loragraft.engine.batch.specs import EngineSpec, TransformersSpec
from loragraft.errors import InputError

if TYPE_CHECKING:
    from loragraft.adapter.locate import AdapterLocation
    from loragraft.engine.batch.protocol import BatchEngine
    from loragraft.engine.batch.transformers import TransformersBatchEngine

PURPOSE = "Answering with transformers"
PACKAGES = ("torch", "transformers", "peft")
FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
         "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
         "*.jinja")  # fmt: skip
"""Of a checkpoint: what decides its answers."""


def open_arm_engine(spec: EngineSpec, *, context_needed: int | None = None) -> BatchEngine:
    """Open the engine of an experiment.

    Args:
        spec: As the configuration has it.
        context_needed: Tokens of the longest conversation with its answer, where they are known.

    Raises:
        LoragraftError: If it cannot be opened: no file, no server, no such model, no key, a
            package or memory that is missing.
    """
    if isinstance(spec, TransformersSpec):
        return open_transformers(spec)
    return open_engine(spec, context_needed=context_needed)


def open_transformers(spec: TransformersSpec) -> TransformersBatchEngine:
    """Load a checkpoint, put its adapter on it, and make an engine of them.

    Raises:
        MissingExtraError: If torch, transformers or peft is not installed.
        InputError: If a file is missing, broken or does not fit; or there is no such device.
        UnavailableError: If the Hub would be needed and cannot be reached.
        OutOfMemoryError: If the model does not fit.
    """
    from loragraft.adapter.locate import locate_adapter
    from loragraft.adapter.peft_loading import put_on, quiet, require_packages
    from loragraft.adapter.speaking import Speaker
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.engine.batch.transformers import TransformersBatchEngine

    require_packages(PURPOSE, *PACKAGES)
    if spec.merged and spec.adapter is None:
        raise InputError("merged: there is no adapter to merge. Name one, or leave merged out.")
    base = resolve_checkpoint(spec.model)
    adapter = None
    if spec.adapter is not None:
        adapter = locate_adapter(resolve_adapter(spec.adapter).folder)
    device = choose_device(spec.device)
    with quiet():
        speaker = Speaker(base.folder, adapter.folder if adapter else None)
        model = _load(base.folder, device, spec.dtype)
        if adapter is not None:
            model = put_on(model, adapter.weights)
            model = model.merge_and_unload(safe_merge=True) if spec.merged else model
        model = model.to(device)
    return TransformersBatchEngine(
        model,
        speaker.tokenizer,
        template=speaker.template,
        name=_name(base.folder, base.repository, adapter),
        width=spec.width,
        context=spec.context,
        identity=_identity(base.folder, adapter, merged=spec.merged),
    )


def choose_device(wanted: str) -> str:
    """Return torch's name of the device to compute on.

    Raises:
        InputError: If there is no such device.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=torch.device(wanted))
    except Exception as error:  # torch says no in many ways
        first = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"device {wanted!r} cannot be used here: {first} Choose cpu, or auto, which takes a "
            "GPU where there is one."
        ) from None
    return wanted


def _load(folder: Path, device: str, dtype: str) -> Any:  # noqa: ANN401 - a transformers model
    from loragraft.adapter.peft_loading import load_causal

    if dtype == "auto":
        dtype = "float32" if device == "cpu" else _own_type(folder)
    return load_causal(folder, PURPOSE, dtype=dtype)


def _own_type(folder: Path) -> str:
    """Return the type of numbers that a checkpoint names; bfloat16 where it names none."""
    from loragraft.checkpoint.model import read_json

    config = read_json(folder / "config.json")
    inner = config.get("text_config")
    places = (config, inner if isinstance(inner, dict) else {})
    named = (place.get(key) for place in places for key in ("dtype", "torch_dtype"))
    known = ("float32", "float16", "bfloat16")
    return next((name for name in named if name in known), "bfloat16")


def _name(folder: Path, repository: str | None, adapter: AdapterLocation | None) -> str:
    base = repository or folder.name
    return base if adapter is None else f"{base} + {adapter.folder.name}"


def _identity(base: Path, adapter: AdapterLocation | None, *, merged: bool) -> dict[str, Any]:
    """Return hashes of the files that decide the answers; large ones from the cache."""
    found: dict[str, Any] = {"model": _hashes(base), "adapter": None, "merged": merged}
    if adapter is not None:
        import peft

        files = {adapter.weights.name: adapter.weights, adapter.config.name: adapter.config}
        own = {name: path for name, path in _files(adapter.folder).items() if name not in files}
        texts = {n: p for n, p in own.items() if p.suffix != ".safetensors"}
        found["adapter"] = _hashed({**files, **texts})
        found["peft"] = str(peft.__version__)
    return found


def _hashes(folder: Path) -> dict[str, str]:
    return _hashed(_files(folder))


def _files(folder: Path) -> dict[str, Path]:
    return {path.name: path for pattern in FILES for path in folder.glob(pattern) if path.is_file()}


def _hashed(files: dict[str, Path]) -> dict[str, str]:
    from loragraft.artifact.hash_cache import cached_sha256

    return {name: cached_sha256(path) for name, path in sorted(files.items())}
