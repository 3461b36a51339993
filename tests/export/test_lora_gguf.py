"""A GGUF LoRA against reality: llama.cpp with it must answer as llama.cpp with the merged model."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import (
    AdapterError,
    BundleError,
    InputError,
    NonFiniteError,
    UnsupportedError,
)
from loragraft.export.architectures import find_family
from loragraft.export.blocks import TensorRows
from loragraft.export.delta import Changes, low_rank_term
from loragraft.export.lora_gguf import common_alpha, export_lora_gguf
from loragraft.export.writer import GgufOutput, Item, OutputTensor, write_header
from tests.export.pico_families import (
    FAMILIES,
    HEAD,
    HEADS,
    LAYERS,
    RANK,
    VOCAB,
    WIDTH,
    Array,
    all_linear,
    base_tensors,
    linear_shapes,
    lora_pair,
    make_adapter,
    make_base,
)

Logits = Callable[..., Array]

CLOSE = 1e-4  # of the largest effect; about 2e-6 was measured, all in float32
TOKENS = [3, 17, 40, 5, 28, 9, 33, 12]


def write_model(base: Path, adapter: Path | None, out: Path) -> Path:
    """The base, merged with the adapter if there is one, as a GGUF in float32, no tokenizer."""
    with ExitStack() as stack:
        checkpoint = stack.enter_context(Checkpoint(base))
        family = find_family(checkpoint.config)
        changes = Changes()
        if adapter is not None:
            opened = stack.enter_context(open_adapter(adapter))
            for name, module in opened.modules.items():
                term = low_rank_term(opened, module, 1.0)
                changes.add_term(f"{name}.weight", lambda term=term: term)  # type: ignore[misc]
        sources = family.tensors(checkpoint.config, checkpoint.tensors)
        tensors = [
            OutputTensor(source.gguf_name, source.shape, 0, 4 * math.prod(source.shape))
            for source in sources
        ]
        items: list[Item] = [
            ("general.type", "model", "string"),
            *family.metadata(checkpoint.config, vocab_size=VOCAB),
            (f"{family.gguf_arch}.vocab_size", VOCAB, "u32"),
            ("tokenizer.ggml.model", "none", "string"),
        ]
        write_header(out, family.gguf_arch, _once(items), tensors)
        output = GgufOutput(out, out.read_bytes(), tensors)
        output.open()
        for source in sources:
            rows = TensorRows(source, checkpoint, changes, "fp32")
            for block in rows.blocks():
                output.append(rows.read(block).view(np.uint8))
            output.finish_tensor()
        output.finish()
        output.close()
    return out


def _once(items: list[Item]) -> list[Item]:
    return list({item[0]: item for item in items}.values())


@pytest.fixture(scope="module")
def said() -> Iterator[list[str]]:
    """What llama.cpp logged, instead of printing it."""
    import llama_cpp

    lines: list[str] = []
    callback = llama_cpp.llama_log_callback(
        lambda level, text, data: lines.append((text or b"").decode(errors="replace"))
    )
    llama_cpp.llama_backend_init()
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    yield lines
    from llama_cpp._logger import llama_log_callback

    llama_cpp.llama_log_set(llama_log_callback, ctypes.c_void_p(0))


@pytest.fixture
def logits(said: list[str]) -> Logits:
    """A function that runs a GGUF, with a LoRA if given, and returns all logits."""
    import llama_cpp

    def run(model_path: Path, lora: Path | None = None, scale: float = 1.0) -> Array:
        said.clear()
        parameters = llama_cpp.llama_model_default_params()
        parameters.use_mmap = False
        model = llama_cpp.llama_model_load_from_file(str(model_path).encode(), parameters)
        assert model, "".join(said)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_threads, settings.n_threads_batch = 64, 1, 1
        settings.type_k = settings.type_v = gguf.GGMLQuantizationType.F32  # else half precision
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # for the same reason
        context = llama_cpp.llama_init_from_model(model, settings)
        assert context, "".join(said)
        try:
            if lora is not None:
                adapter = llama_cpp.llama_adapter_lora_init(model, str(lora).encode())
                assert adapter, "".join(said)
                adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter)
                scales = (ctypes.c_float * 1)(scale)
                assert llama_cpp.llama_set_adapters_lora(context, adapters, 1, scales) == 0
            return _decode(context)
        finally:
            llama_cpp.llama_free(context)
            llama_cpp.llama_model_free(model)

    return run


def _decode(context: Any) -> Array:  # noqa: ANN401
    import llama_cpp

    batch = llama_cpp.llama_batch_init(len(TOKENS), 0, 1)
    batch.n_tokens = len(TOKENS)
    for place, token in enumerate(TOKENS):
        batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, place, 1
        batch.seq_id[place][0], batch.logits[place] = 0, 1
    assert llama_cpp.llama_decode(context, batch) == 0
    values = llama_cpp.llama_get_logits(context)
    found = np.ctypeslib.as_array(values, shape=(len(TOKENS), VOCAB)).copy()
    llama_cpp.llama_batch_free(batch)
    return found


def assert_same_effect(logits: Logits, base: Path, adapter: Path, out: Path, **options: Any) -> Any:  # noqa: ANN401
    """Base plus GGUF LoRA must answer as the merged model, and unlike the base."""
    folder = out.parent
    written = export_lora_gguf(base, adapter, out, **options)
    merged = logits(write_model(base, adapter, folder / "merged.gguf"))
    alone = write_model(base, None, folder / "base.gguf")
    plain, tuned = logits(alone), logits(alone, out)
    effect = np.abs(merged - plain).max()
    assert effect > 0.1
    assert np.abs(tuned - merged).max() < CLOSE * effect
    return written


@pytest.mark.parametrize("family", FAMILIES)
def test_every_module_of_every_family_has_its_merged_effect(
    family: str, tmp_path: Path, logits: Logits
) -> None:
    tied = family in ("qwen2", "gemma2", "gemma3")
    base = make_base(tmp_path / "base", family, tied=tied)
    adapter = make_adapter(tmp_path / "adapter", all_linear(family))
    written = assert_same_effect(logits, base, adapter, tmp_path / "lora.gguf")
    assert written.modules == len(linear_shapes(family))
    assert written.alpha == 6.0
    assert written.folded == 0


@pytest.mark.parametrize("module", sorted(linear_shapes("llama"))[:7])
def test_each_module_of_llama_alone(module: str, tmp_path: Path, logits: Logits) -> None:
    base = make_base(tmp_path / "base", "llama")
    out, width = linear_shapes("llama")[module]
    pair = {key: 3 * values for key, values in lora_pair(module, out, width, RANK).items()}
    adapter = make_adapter(tmp_path / "adapter", pair)
    assert_same_effect(logits, base, adapter, tmp_path / "lora.gguf")


def test_scaling_that_differs_by_module_is_folded_into_b(tmp_path: Path, logits: Logits) -> None:
    base = make_base(tmp_path / "base", "llama")
    ranks = {"q_proj": 2, "down_proj": 8}
    adapter = make_adapter(
        tmp_path / "adapter",
        all_linear("llama", rank=ranks),
        use_rslora=True,
        rank_pattern=ranks,
        alpha_pattern={"k_proj": 11},
    )
    written = assert_same_effect(logits, base, adapter, tmp_path / "lora.gguf")
    assert written.alpha == pytest.approx(6 * math.sqrt(RANK))
    assert written.folded == 3 * LAYERS


def test_embedding_and_head_of_an_untied_base(tmp_path: Path, logits: Logits) -> None:
    base = make_base(tmp_path / "base", "llama")
    pairs = lora_pair("model.embed_tokens", WIDTH, VOCAB, RANK, embedding=True)
    pairs |= lora_pair("lm_head", VOCAB, WIDTH, RANK)
    adapter = make_adapter(tmp_path / "adapter", pairs)
    written = assert_same_effect(logits, base, adapter, tmp_path / "lora.gguf")
    names = {tensor.name for tensor in gguf.GGUFReader(written.path).tensors}
    assert names == {
        f"{name}.weight.{part}"
        for name in ("token_embd", "output")
        for part in ("lora_a", "lora_b")
    }


def test_the_copy_under_an_adapted_head_is_the_bases_or_refused(tmp_path: Path) -> None:
    """PEFT saves the matrix under an adapted embedding or head along."""
    base = make_base(tmp_path / "base", "llama")
    copy = base_tensors("llama", tied=False)["lm_head.weight"].astype(np.float16)
    pairs = lora_pair("lm_head", VOCAB, WIDTH, RANK)
    key = "base_model.model.lm_head.base_layer.weight"
    adapter = make_adapter(tmp_path / "adapter", {**pairs, key: copy})
    assert export_lora_gguf(base, adapter, tmp_path / "lora.gguf").modules == 1
    copy[3, 5] += 1
    save_file({**pairs, key: copy}, adapter / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(UnsupportedError, match=r"trained on another lm_head\.weight than"):
        export_lora_gguf(base, adapter, tmp_path / "other.gguf")


def test_half_precision_is_close_and_half_as_large(tmp_path: Path, logits: Logits) -> None:
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", all_linear("llama"))
    exact = export_lora_gguf(base, adapter, tmp_path / "f32.gguf")
    half = export_lora_gguf(base, adapter, tmp_path / "f16.gguf", dtype="f16")
    assert half.nbytes < 0.6 * exact.nbytes
    model = write_model(base, None, tmp_path / "base.gguf")
    plain, wanted = logits(model), logits(model, exact.path)
    assert np.abs(logits(model, half.path) - wanted).max() < 0.02 * np.abs(wanted - plain).max()


def test_a_users_scale_stands_in_alpha(tmp_path: Path, logits: Logits) -> None:
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", all_linear("llama"))
    full = export_lora_gguf(base, adapter, tmp_path / "full.gguf")
    half = export_lora_gguf(base, adapter, tmp_path / "half.gguf", scale=0.5)
    assert (full.alpha, half.alpha) == (6.0, 3.0)
    model = write_model(base, None, tmp_path / "base.gguf")
    np.testing.assert_allclose(
        logits(model, half.path), logits(model, full.path, 0.5), rtol=1e-4, atol=1e-4
    )


def test_an_alpha_of_zero_stays_without_effect(tmp_path: Path, logits: Logits) -> None:
    """llama.cpp would read an alpha of zero as "unscaled"."""
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", all_linear("llama"), lora_alpha=0)
    written = export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    assert written.alpha == 1.0
    model = write_model(base, None, tmp_path / "base.gguf")
    np.testing.assert_array_equal(logits(model, written.path), logits(model))


def test_the_common_alpha_is_the_most_frequent_usable_one() -> None:
    assert common_alpha([8.0, 16.0, 16.0, 0.0, 0.0, 0.0]) == 16.0
    assert common_alpha([0.0]) == 1.0
    assert common_alpha([]) == 1.0
    assert common_alpha([16 * math.sqrt(3)] * 2) == float(np.float32(16 * math.sqrt(3)))


def test_metadata_names_what_it_is(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(
        tmp_path / "adapter", all_linear("llama"), alora_invocation_tokens=[5, 9]
    )
    export_lora_gguf(base, adapter, tmp_path / "science.gguf")
    fields = gguf.GGUFReader(tmp_path / "science.gguf").fields
    found = {key: fields[key].contents() for key in fields if not key.startswith("GGUF.")}
    assert found == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "general.name": "science",
        "general.base_model.count": 1,
        "general.base_model.0.name": "someone/pico",
        "adapter.type": "lora",
        "adapter.lora.alpha": 6.0,
        "adapter.alora.invocation_tokens": [5, 9],
        "general.file_type": 0,
        "general.quantization_version": 2,
    }


def test_activation_tokens_reach_llama_cpp(tmp_path: Path, said: list[str]) -> None:
    import llama_cpp

    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(
        tmp_path / "adapter", all_linear("llama"), alora_invocation_tokens=[5, 9]
    )
    export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    path = write_model(base, None, tmp_path / "base.gguf")
    model = llama_cpp.llama_model_load_from_file(
        str(path).encode(), llama_cpp.llama_model_default_params()
    )
    loaded = llama_cpp.llama_adapter_lora_init(model, str(tmp_path / "lora.gguf").encode())
    assert llama_cpp.llama_adapter_get_alora_n_invocation_tokens(loaded) == 2
    llama_cpp.llama_model_free(model)


Q_PROJ = "model.layers.0.self_attn.q_proj"


def _plain() -> dict[str, Array]:
    return lora_pair(Q_PROJ, HEADS * HEAD, WIDTH, RANK)


def _ones(key: str, *shape: int) -> dict[str, Array]:
    return {f"base_model.model.{key}": np.ones(shape, np.float32)}


@pytest.mark.parametrize(
    ("extra", "config", "message"),
    [
        (_ones(f"{Q_PROJ}.lora_magnitude_vector", 64), {"use_dora": True}, "is a DoRA adapter"),
        (_ones(f"{Q_PROJ}.lora_B.bias", 64), {"lora_bias": True}, "trained biases"),
        (
            _ones("lm_head.weight", VOCAB, WIDTH),
            {"modules_to_save": ["lm_head"]},
            "modules_to_save",
        ),
        (
            _ones("model.embed_tokens.token_adapter.trainable_tokens_delta", 2, WIDTH),
            {"trainable_token_indices": [1, 2]},
            "trainable_token_indices",
        ),
        ({}, {"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({}, {"peft_type": "LOHA"}, "is of type LOHA"),
        ({}, {"init_lora_weights": "pissa"}, "initialised as pissa"),
    ],
    ids=["dora", "lora_bias", "saved", "tokens", "replication", "loha", "pissa"],
)
def test_what_llama_cpp_cannot_apply_is_refused(
    extra: dict[str, Array], config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", {**_plain(), **extra}, **config)
    with pytest.raises(UnsupportedError, match=message):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


@pytest.mark.parametrize("side", ["head", "embedding"])
def test_one_side_of_tied_embeddings_is_refused(side: str, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "qwen2", tied=True)
    pairs = {
        "head": lora_pair("lm_head", VOCAB, WIDTH, RANK),
        "embedding": lora_pair("model.embed_tokens", WIDTH, VOCAB, RANK, embedding=True),
    }
    adapter = make_adapter(tmp_path / "adapter", pairs[side])
    with pytest.raises(UnsupportedError, match="one matrix for embedding and output"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")


def test_modules_that_the_base_lacks_are_refused(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    far = lora_pair("model.layers.9.self_attn.q_proj", 64, WIDTH, RANK)
    adapter = make_adapter(tmp_path / "adapter", {**_plain(), **far})
    with pytest.raises(AdapterError, match=r"layers\.9"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")


def test_an_adapter_of_another_width_is_refused(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", lora_pair(Q_PROJ, 128, 128, RANK))
    with pytest.raises(AdapterError, match=r"shape \[128, 128\].*another base"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")


def test_broken_values_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    pair = _plain()
    next(iter(pair.values()))[1, 2] = np.nan
    adapter = make_adapter(tmp_path / "adapter", pair)
    with pytest.raises(NonFiniteError, match="NaN or Inf"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    next(iter(pair.values()))[1, 2] = 1e5
    save_file(pair, adapter / "adapter_model.safetensors")
    with pytest.raises(NonFiniteError, match=r"attn_q\.weight\.lora_a overflows.*f32"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf", dtype="f16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_file_that_is_there_is_kept_unless_asked(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", _plain())
    out = tmp_path / "lora.gguf"
    first = export_lora_gguf(base, adapter, out)
    with pytest.raises(BundleError, match="--replace"):
        export_lora_gguf(base, adapter, out)
    assert export_lora_gguf(base, adapter, out, replace_existing=True).sha256 == first.sha256
    with pytest.raises(InputError, match="path of a file"):
        export_lora_gguf(base, adapter, tmp_path)
    with pytest.raises(InputError, match="path of a file"):
        export_lora_gguf(base, adapter, tmp_path / "nowhere" / "lora.gguf")


@pytest.mark.slow
# PEFT 0.21 reads an attribute that transformers 5 renamed.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_transformers_with_peft_answers_the_same(
    family: str, tmp_path: Path, logits: Logits
) -> None:
    """The whole way against the model and adapter as they were trained, rsLoRA and patterns too."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = make_base(tmp_path / "base", family, tied=family == "qwen2")
    ranks = {"k_proj": 2, "gate_proj": 8}
    modules = sorted({name.rsplit(".", 1)[1] for name in linear_shapes(family)})
    adapter = make_adapter(
        tmp_path / "adapter",
        all_linear(family, rank=ranks),
        use_rslora=True,
        rank_pattern=ranks,
        alpha_pattern={"v_proj": 9},
        target_modules=modules,
    )
    export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    found = logits(write_model(base, None, tmp_path / "base.gguf"), tmp_path / "lora.gguf")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        before = plain(torch.tensor([TOKENS])).logits[0].numpy()
        tuned = PeftModel.from_pretrained(plain, adapter).eval()
        wanted = tuned(torch.tensor([TOKENS])).logits[0].numpy()
    effect = np.abs(wanted - before).max()
    assert effect > 0.1
    assert np.abs(found - wanted).max() < CLOSE * effect
