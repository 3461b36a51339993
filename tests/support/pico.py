"""Checkpoints of a few layers with random weights, for every family, and adapters for them.

Norms and biases are random too, so that an offset or a permutation that is missed shows.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = 20251101
WEIGHT_STD = 0.05
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

COMMON: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3,
    "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 512,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 128,
}  # fmt: skip

GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32}  # what llama.cpp has built in: the same


@dataclass(frozen=True)
class Pico:
    """A model class of transformers, its options and the tokenizer's kind."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = "sentencepiece"
    shard_size: str = "50GB"


PICOS: dict[str, Pico] = {
    "llama": Pico("Llama"),
    "llama-bias": Pico("Llama", {"attention_bias": True}),
    "llama-tied": Pico("Llama", {"tie_word_embeddings": True}),
    "llama-sharded": Pico("Llama", shard_size="1MB"),
    "llama-narrow": Pico("Llama", {"hidden_size": 192, "intermediate_size": 320}),
    "llama3": Pico("Llama", {"rope_parameters": LLAMA3_ROPE}, "llama-bpe"),
    "mistral": Pico("Mistral", {"sliding_window": None}),
    "qwen2": Pico("Qwen2", {"tie_word_embeddings": True}, "qwen2"),
    "qwen3": Pico("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "gemma2": Pico("Gemma2", {**GEMMA, "tie_word_embeddings": True}, "gemma"),
    "gemma3": Pico("Gemma3Text", {**GEMMA, "tie_word_embeddings": True}, "gemma"),
    "phi3": Pico("Phi3"),
}
FAMILIES = ("llama", "llama-bias", "llama-tied", "llama-sharded", "llama-narrow", "llama3",
            "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3")  # fmt: skip
"""Those that are compared with the reference pipeline."""


def _train_sentencepiece(folder: Path, *, dummy_prefix: bool) -> int:
    import sentencepiece

    words = [f"word {n} the quick brown fox {n * n} jumps over lazy dogs" for n in range(400)]
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words), model_prefix=str(folder / "tokenizer"), vocab_size=512,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=dummy_prefix, hard_vocab_limit=False,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.vocab").unlink()
    settings = {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
        "add_bos_token": True, "chat_template": CHATML,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    processor = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    return int(processor.vocab_size())


def _real_tokenizer(folder: Path, name: str) -> tuple[int, int, int]:
    """Write a real tokenizer; return the size of its vocabulary and its start and end tokens."""
    from tests.support import tokenizers

    if name == "qwen2":
        tokenizers.save_qwen2_tokenizer(folder)
        return 151936, 151643, 151645
    tokenizers.save_llama_bpe_tokenizer(folder)
    return 128256, 128000, 128001


def build_pico(name: str, folder: Path) -> Path:
    """Build a checkpoint in bfloat16, by a name of ``PICOS``."""
    import torch
    import transformers

    pico = PICOS[name]
    if pico.tokenizer in ("sentencepiece", "gemma"):
        size = _train_sentencepiece(folder, dummy_prefix=pico.tokenizer != "gemma")
        bos, eos = 1, 2
    else:
        size, bos, eos = _real_tokenizer(folder, pico.tokenizer)
    settings = {**COMMON, "vocab_size": size, "bos_token_id": bos, "eos_token_id": eos,
                **pico.options}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = getattr(transformers, f"{pico.kind}Config")(**settings)
        model = getattr(transformers, f"{pico.kind.removesuffix('Text')}ForCausalLM")(config)
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator) * WEIGHT_STD
                shifted = "norm" in key and "gemma" not in name
                parameter.copy_(noise + 1.0 if shifted else noise)
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=pico.shard_size)
    return folder


LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
FACTORS = ("lora_A", "lora_B", "lora_embedding_", "hada")
FACTOR_STD = 0.02
"""With rank 8 and scaling 2 the delta is about 4 % of the weights."""


def build_adapter(base: Path, folder: Path, *, peft_type: str = "LORA", **options: Any) -> Path:  # noqa: ANN401
    """Let PEFT make an adapter with random values everywhere."""
    import torch
    from peft import LoHaConfig, LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    fused = json.loads((base / "config.json").read_text())["model_type"] == "phi3"
    options = {"r": 8, "target_modules": FUSED if fused else LINEAR, **options}
    if peft_type == "LOHA":
        config: Any = LoHaConfig(task_type="CAUSAL_LM", alpha=16, **options)
    else:
        config = LoraConfig(**{"task_type": "CAUSAL_LM", "lora_alpha": 16, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(SEED)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        wrapped = get_peft_model(model, config)
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            for key, parameter in wrapped.named_parameters():
                if parameter.requires_grad:
                    noise = torch.randn(parameter.shape, generator=generator) * FACTOR_STD
                    whole = not any(part in key for part in FACTORS)
                    parameter.copy_(parameter * (1 + noise) if whole else parameter * 0 + noise)
        wrapped.save_pretrained(folder)
    return folder
