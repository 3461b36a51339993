"""The stream engine against PEFT itself, on a sample of modules with their real weights.

A torch model is made of nothing but the sampled modules, under their real names; PEFT loads the
real configuration and the real adapter into it and merges. What comes out must be what the stream
engine computed.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.grouping import LoraModule
from loragraft.adapter.peft_loading import OVERHEAD_BYTES, peft_folder
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError
from loragraft.export.gates import GateResult
from loragraft.export.peft_engine import require_peft

if TYPE_CHECKING:
    import torch

SEED = 20251101
SAMPLE = 8
"""Modules merged twice: one of each kind in usual adapters, and one more."""
RELATIVE_LIMIT = 1e-4
"""Largest difference as a share of the largest change: float32 sums over ranks up to hundreds."""
ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Plus this share of the largest weight: the sum is rounded to float32 on either side."""

StreamRows = Callable[[str], NDArray[np.float32]]


def sample_modules(adapter: Adapter, count: int = SAMPLE, seed: int = SEED) -> list[str]:
    """Choose modules, every kind (last part of the name) before a second of any."""
    generator = np.random.default_rng(seed)
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in sorted(adapter.modules):
        kinds[name.rsplit(".", 1)[-1]].append(name)
    queues = [list(generator.permutation(names)) for _, names in sorted(kinds.items())]
    chosen: list[str] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(str(queue.pop()))
    return sorted(chosen)


def prove_modules(
    base: Checkpoint,
    adapter: Path,
    modules: Sequence[str],
    stream_rows: StreamRows,
    *,
    tensors: Mapping[str, str] | None = None,
    scale: float = 1.0,
) -> GateResult:
    """Merge modules with PEFT's ``merge_and_unload`` and compare.

    Args:
        base: The base checkpoint.
        adapter: The adapter's path.
        modules: Names of its LoRA modules.
        stream_rows: What the stream engine made of a module's weight: float32, whole, in the
            checkpoint's row order.
        tensors: The base tensor of each module, where it is not the name and ``.weight``.
        scale: The user's factor on the adapter's scale.

    Raises:
        MissingExtraError: If torch or peft is missing.
        AdapterError: If PEFT does not take the sampled keys.
    """
    require_peft()
    expected = f"at most {RELATIVE_LIMIT:g} of the largest change"
    with open_adapter(adapter) as opened:
        chosen = [opened.modules[name] for name in modules]
        if not chosen:
            return GateResult("prove", "skipped", "the adapter has no LoRA module", expected)
        names = {m.name: (tensors or {}).get(m.name, f"{m.name}.weight") for m in chosen}
        needed = sum(m.in_features * m.out_features * 4 * 4 for m in chosen) + OVERHEAD_BYTES
        require_memory(needed, "--prove", "Leave it out; the other gates need no PEFT.")
        merged = _merge_with_peft(base, opened, chosen, names, scale)
    worst, details, off = 0.0, {}, []
    for name, theirs in merged.items():
        original = base.array(names[name])
        ours = stream_rows(name)
        change = float(np.abs(theirs - original).max())
        difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf
        allowed = RELATIVE_LIMIT * change + ROUNDING * float(np.abs(theirs).max())
        details[name] = difference / change if change else difference
        worst = max(worst, details[name])
        if not difference <= allowed:
            off.append(name)
    measured = f"{len(merged)} modules, largest difference {worst:.1e} of the largest change"
    if not off:
        return GateResult("prove", "pass", measured, expected, "", {"modules": details})
    measured += f"; too far: {', '.join(off[:3])}"
    step = "The stream engine and PEFT disagree. Use --engine peft, and report this adapter."
    return GateResult("prove", "fail", measured, expected, step, {"modules": details})


def _merge_with_peft(
    base: Checkpoint,
    adapter: Adapter,
    modules: Sequence[LoraModule],
    names: Mapping[str, str],
    scale: float,
) -> dict[str, NDArray[np.float32]]:
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict

    with peft_folder(adapter.location) as folder:
        config: Any = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    config.modules_to_save = config.trainable_token_indices = None
    config.lora_bias = False  # weights are compared; a bias of B goes into the base's bias
    if not isinstance(config.target_modules, str) or config.target_modules == "all-linear":
        # Names in the list are matched by their ends: those of the sample are enough.
        config.target_modules = {module.name for module in modules}
    model = _small_model(base, modules, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the whole adapter's warnings are shown elsewhere
        wrapped: Any = PeftModel(model, config)
        result: Any = set_peft_model_state_dict(wrapped, _weights(adapter, modules))
        lost = [key for key in result.missing_keys if ".lora_" in key] + result.unexpected_keys
        if lost:
            raise AdapterError(
                f"PEFT does not take {len(lost)} keys of {adapter.path}: {', '.join(lost[:3])}."
            )
        for part in wrapped.modules():
            if isinstance(getattr(part, "scaling", None), dict):
                part.scaling["default"] *= scale
        merged = wrapped.merge_and_unload(safe_merge=True)
    return {m.name: merged.get_submodule(m.name).weight.detach().numpy() for m in modules}


def _small_model(
    base: Checkpoint, modules: Sequence[LoraModule], names: Mapping[str, str]
) -> torch.nn.Module:
    """Build a model of the sampled modules alone, at their places."""
    import torch

    root = torch.nn.Module()
    for module in modules:
        parent = root
        *path, last = module.name.split(".")
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, torch.nn.Module())
            parent = parent.get_submodule(part)
        weight = torch.nn.Parameter(torch.from_numpy(base.array(names[module.name])), False)
        leaf: torch.nn.Module
        if module.kind == "embedding":
            leaf = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
        else:
            leaf = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            leaf.weight = weight
        parent.add_module(last, leaf)
    return root


def _weights(adapter: Adapter, modules: Sequence[LoraModule]) -> dict[str, torch.Tensor]:
    import torch

    weights: dict[str, torch.Tensor] = {}
    for module in modules:
        for key in (module.a_key, module.b_key, module.magnitude_key):
            if key is not None:
                values = torch.from_numpy(adapter.array(key))
                weights[f"base_model.model.{module.name}.{_part(key)}"] = values
    return weights


def _part(key: str) -> str:
    """Return the end of a key as PEFT saves it: without the name of an adapter inside."""
    kind, *_ = key[key.rindex(".lora_") + 1 :].split(".")
    return f"{kind}.weight" if kind in ("lora_A", "lora_B") else kind
