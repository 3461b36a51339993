"""Program: build pico checkpoints of every family and let llama.cpp's own converter export them.

`python make_reference.py SOURCE OUT`, with SOURCE the folder of llama.cpp's converter. For every
variant NAME it leaves `OUT/NAME/checkpoint`, `OUT/NAME/reference.gguf` (float32) and
`OUT/NAME/quantized.gguf` (by `llama_model_quantize`, for the order of tensors).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCAB = 320
COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "long_factor": [1.5, 2.0, 3.0, 4.5, 6.0, 8.25],
}
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32}
GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}

Variant = tuple[str, dict[str, Any], Callable[[Path], None] | None]


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change config.json in place."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def old_rope(folder: Path) -> None:
    """Write rotary settings as transformers did before version 5."""

    def change(config: dict[str, Any]) -> None:
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["torch_dtype"] = config.pop("dtype", "bfloat16")
        scaled = rope.get("rope_type", "default") != "default"
        config["rope_scaling"] = {"type": rope.pop("rope_type"), **rope} if scaled else None

    edit_config(folder, change)


def old_gemma3_rope(folder: Path) -> None:
    """Write Gemma 3's two rotary bases as its first checkpoints did."""

    def change(config: dict[str, Any]) -> None:
        rope = config.pop("rope_parameters")
        full = rope["full_attention"]
        config["rope_theta"] = full.pop("rope_theta")
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["rope_scaling"] = full
        config.pop("layer_types", None)
        config["sliding_window_pattern"] = 6

    edit_config(folder, change)


def bare_config(folder: Path) -> None:
    """Leave out everything that transformers' configuration class fills in by itself."""
    kept = {*COMMON, "architectures", "model_type", "dtype"}

    def change(config: dict[str, Any]) -> None:
        for key in set(config) - kept:
            del config[key]

    edit_config(folder, change)


def old_wrapper(folder: Path) -> None:
    """Name a vision-language model's tensors as the first Gemma 3 checkpoints did."""
    from safetensors.torch import load_file, save_file

    def rename(name: str) -> str:
        for new, old in (
            ("model.language_model.", "language_model.model."),
            ("model.vision_tower.", "vision_tower."),
            ("model.multi_modal_projector.", "multi_modal_projector."),
        ):
            if name.startswith(new):
                return old + name.removeprefix(new)
        return name

    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({rename(k): v for k, v in tensors.items()}, path, metadata={"format": "pt"})


VARIANTS: dict[str, Variant] = {
    "llama": ("Llama", {}, None),
    "llama-bare": ("Llama", {}, bare_config),
    "llama-biases-llama3": (
        "Llama",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "head_dim": 32,
            "rope_parameters": LLAMA3,
        },
        None,
    ),
    "llama-linear-old": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e5, "factor": 4.0}},
        old_rope,
    ),
    "llama-eleven-layers": ("Llama", {"num_hidden_layers": 11}, old_rope),
    "mistral": ("Mistral", {"head_dim": 32, "sliding_window": 64}, None),
    "qwen2": ("Qwen2", {}, None),
    "qwen2-tied-yarn-old": (
        "Qwen2",
        {
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "attention_factor": 1.25,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
            },
        },
        old_rope,
    ),
    "qwen3": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}, None),
    "qwen3-bare": ("Qwen3", {"head_dim": 128}, bare_config),
    "gemma2": ("Gemma2", {**GEMMA, "sliding_window": 64}, None),
    "gemma2-bare": ("Gemma2", {"head_dim": 256}, bare_config),
    "gemma3": ("Gemma3Text", {**GEMMA, "sliding_window": 64}, None),
    "gemma3-old": (
        "Gemma3Text",
        {**GEMMA, "sliding_window": 64, "rope_parameters": GEMMA3_ROPE},
        old_gemma3_rope,
    ),
    "gemma3-vision": ("Gemma3", {**GEMMA, "sliding_window": 64}, None),
    "gemma3-vision-old": ("Gemma3", {**GEMMA, "sliding_window": 64}, old_wrapper),
    "phi3": ("Phi3", {"sliding_window": 64}, None),
    "phi3-long": (
        "Phi3",
        {"original_max_position_embeddings": 64, "rope_parameters": LONG},
        None,
    ),
    "phi3-long-old": (
        "Phi3",
        {"original_max_position_embeddings": 64, "rope_parameters": LONG},
        old_rope,
    ),
}


def build_model(kind: str, options: dict[str, Any]) -> Any:  # noqa: ANN401  (a torch module)
    """Build a pico model with random values everywhere, norms and biases among them."""
    import torch
    import transformers

    settings = {**COMMON, **options}
    if kind == "Gemma3":
        text = transformers.Gemma3TextConfig(**settings)
        config = transformers.Gemma3Config(
            text_config=text.to_dict(), vision_config=VISION, mm_tokens_per_image=4
        )
        model = transformers.Gemma3ForConditionalGeneration(config)
    else:
        config = getattr(transformers, f"{kind}Config")(**settings)
        name = kind.removesuffix("Text")
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.to(torch.bfloat16)


def train_tokenizer(out: Path) -> Path:
    """Train the sentencepiece model that the converter wants."""
    import sentencepiece

    words = [f"word{n} the quick brown fox {n * n} jumps over lazy dogs" for n in range(400)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_prefix=str(out / "tokenizer"),
        vocab_size=300,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return out / "tokenizer.model"


def convert(source: Path, checkpoint: Path, target: Path) -> None:
    """Run llama.cpp's converter in this process."""
    script = source / "convert_hf_to_gguf.py"
    sys.argv = [str(script), str(checkpoint), "--outfile", str(target), "--outtype", "f32"]
    noise = io.StringIO()
    try:
        with contextlib.redirect_stderr(noise):
            runpy.run_path(str(script), run_name="__main__")
    except BaseException:
        sys.stderr.write(noise.getvalue()[-4000:])
        raise


def quantize(source: Path, target: Path) -> None:
    """Let llama.cpp quantize, which also proves that it loads the reference."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    params.nthread = 1
    code = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    if code:
        raise SystemExit(f"llama_model_quantize failed on {source} with {code}")


def main() -> None:
    """Build, convert and quantize every variant."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    tokenizer = train_tokenizer(out)
    for name, (kind, options, edit) in VARIANTS.items():
        checkpoint = out / name / "checkpoint"
        model = build_model(kind, options)
        model.save_pretrained(checkpoint)
        if edit is not None:
            edit(checkpoint)
        shutil.copy(tokenizer, checkpoint / "tokenizer.model")
        convert(source, checkpoint, out / name / "reference.gguf")
        quantize(out / name / "reference.gguf", out / name / "quantized.gguf")


if __name__ == "__main__":
    main()
