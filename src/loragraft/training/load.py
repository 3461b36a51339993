"""A base with a fresh adapter on it, ready to be trained: whole, or in four bits (QLoRA)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from loragraft.adapter.peft_loading import load_checkpoint, quiet
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.bases import quantization_of
from loragraft.checkpoint.model import Checkpoint, read_json
from loragraft.errors import CheckpointError, MissingExtraError, UnsupportedError
from loragraft.training.config import TrainConfig
from loragraft.training.precision import Precision, choose_precision
from loragraft.training.targets import choose_targets, linear_modules

PURPOSE = "Training"
PACKAGES = ("torch", "transformers", "peft", "accelerate")
FOUR_BITS = "bitsandbytes"


def require_training(config: TrainConfig) -> None:
    """Raise unless the packages that a run needs are installed.

    Raises:
        MissingExtraError: Naming the first that is not.
    """
    for package in PACKAGES:
        _require(package, PURPOSE)
    if config.quantization == "nf4":
        _require(FOUR_BITS, "Training on a base of four bits")


def _require(package: str, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, "train", purpose)


def load_causal(
    config: TrainConfig,
    folder: Path,
    *,
    precision: Precision | None = None,
    attention: str | None = None,
) -> tuple[Any, Any]:
    """Load a causal language model with a fresh adapter, and its tokenizer.

    Args:
        config: Of the run.
        folder: The base's.
        precision: What to compute in; None chooses.
        attention: transformers' name of an attention; None is its default.

    Returns:
        A ``PeftModel`` that is trained mode-wise, where only the adapter wants gradients, and the
        tokenizer.

    Raises:
        MissingExtraError: If a package is missing.
        CheckpointError: If the base or its tokenizer is broken.
        UnsupportedError: If the base is quantized already, or cannot be trained as asked.
        InputError: If the base lacks a module that is to be adapted.
    """
    require_training(config)
    model = load_whole(config, folder, precision or choose_precision(config), attention=attention)
    return add_adapter(config, model, task="CAUSAL_LM"), load_tokenizer(folder)


def load_whole(
    config: TrainConfig, folder: Path, precision: Precision, *, attention: str | None = None
) -> Any:  # noqa: ANN401 - a transformers model
    """Load a causal language model without an adapter, frozen, where it is to be trained.

    Raises:
        CheckpointError: If it is broken.
        UnsupportedError: If it is quantized already.
        OutOfMemoryError: If it does not fit into the memory.
    """
    check_base(folder)
    _require_memory(config, folder, precision)
    options = load_options(config, precision)
    if attention is not None:
        options["attn_implementation"] = attention
    with quiet():
        model = load_checkpoint(folder, precision.name, **options)
    if config.quantization == "nf4":
        keep_four_bits_trainable(model)
    elif precision.device != "cpu":
        model.to(precision.device)
    model.config.use_cache = False  # of no use in training; generate() has its own setting
    model.requires_grad_(False)
    return model


def _require_memory(config: TrainConfig, folder: Path, precision: Precision) -> None:
    """Refuse a whole base that is larger than the memory: the system would kill the process.

    Raises:
        OutOfMemoryError: Naming what is needed.
    """
    if config.quantization != "none":
        return
    with Checkpoint(folder) as checkpoint:
        numbers = sum(info.size for info in checkpoint.tensors.values())
    require_memory(
        numbers * (4 if precision.name == "float32" else 2), f"Loading {config.base}",
        "loragraft train plan CONFIG says what would fit.",
    )  # fmt: skip


def load_options(config: TrainConfig, precision: Precision) -> dict[str, Any]:
    """Return what ``from_pretrained`` is given for a base of four bits; nothing for a whole one.

    NF4 with double quantization, computed in the run's precision (Dettmers et al. 2023, arXiv
    2305.14314).
    """
    if config.quantization == "none":
        return {}
    from transformers import BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision.dtype,
    )  # fmt: skip
    return {"quantization_config": four_bits, "device_map": {"": precision.device}}


def check_base(folder: Path) -> None:
    """Refuse a base that is broken, or whose weights are quantized in its files.

    Raises:
        CheckpointError: If a file is missing or cut short.
        UnsupportedError: If it is quantized; names how.
    """
    with Checkpoint(folder):
        pass
    kind = quantization_of(read_json(folder / "config.json"))
    if kind is not None:
        raise UnsupportedError(
            f"{folder} is quantized by {kind}; training starts from full-precision weights, and "
            "quantization: nf4 packs them while they are loaded. Give the model it was quantized "
            "from."
        )


def keep_four_bits_trainable(model: Any) -> None:  # noqa: ANN401
    """Keep bitsandbytes from repacking weights at the first evaluation on a CPU.

    On processors with AVX512_BF16, ``Linear4bit`` (0.50) repacks its weights when it first runs in
    evaluation mode. Its product with repacked weights has no gradient, so that from then on nothing
    below a layer would be trained, with no more than a warning.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def add_adapter(
    config: TrainConfig,
    model: Any,  # noqa: ANN401 - a transformers model
    *,
    task: str,
    targets: tuple[str, ...] | None = None,
    **options: Any,  # noqa: ANN401 - of LoraConfig
) -> Any:  # noqa: ANN401 - a PeftModel
    """Put a fresh adapter on a model; the seed decides its values, nothing else does.

    Args:
        config: Of the run.
        model: A model of transformers.
        task: PEFT's name of the task.
        targets: Modules, where they are not what the configuration's names say of a causal model.
        **options: More for ``LoraConfig``, as ``modules_to_save``.

    Raises:
        InputError: If the model lacks a module that is to be adapted.
        UnsupportedError: If its activations cannot be checkpointed, and that is asked for.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    lora = config.lora
    chosen = targets or choose_targets(lora, _adaptable(model), config.base)
    alpha: Any = int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha
    settings = LoraConfig(
        r=lora.r, lora_alpha=alpha, lora_dropout=lora.dropout, target_modules=list(chosen),
        use_rslora=lora.rslora, use_dora=lora.dora, bias="none", task_type=task, **options,
    )  # fmt: skip
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        wrapped = get_peft_model(model, settings)
    if config.optimiser.gradient_checkpointing:
        checkpoint_activations(wrapped, config.base)
    return wrapped.train()


def _adaptable(model: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the modules that an adapter may be put on: the linear ones, the head, embeddings."""
    ends = [model.get_output_embeddings(), model.get_input_embeddings()]
    others = [name for name, module in model.named_modules() if any(module is end for end in ends)]
    return (*linear_modules(model), *others)


def checkpoint_activations(model: Any, base: str) -> None:  # noqa: ANN401
    """Compute activations twice instead of keeping them; gradients stay the same.

    Raises:
        UnsupportedError: If the model's class does not support it.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not getattr(inner, "supports_gradient_checkpointing", False):
        raise UnsupportedError(
            f"{base} ({type(inner).__name__}) does not support gradient checkpointing. Switch "
            "optimiser.gradient_checkpointing off and take a smaller batch."
        )
    new = getattr(inner, "activation_checkpointing_enable", None)  # the name since 5.23
    # Not reentrant: that needs an input with gradients, which a frozen embedding does not give.
    (new or inner.gradient_checkpointing_enable)({"use_reentrant": False})


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401 - a transformers tokenizer
    """Load a base's tokenizer.

    Raises:
        CheckpointError: If it cannot be loaded.
    """
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    try:
        with quiet():
            return loader.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the Rust library's own are of no class that has a name
        raise CheckpointError(
            f"transformers cannot load the tokenizer of {folder}: {error}. Download it again."
        ) from error
