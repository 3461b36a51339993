"""PEFT's merge, strict: what it gives, and every refusal."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.artifact.checksums import check_checksums
from loragraft.errors import (
    AdapterError,
    BundleError,
    CheckpointError,
    InputError,
    MissingExtraError,
    NonFiniteError,
    OutOfMemoryError,
    OutOfSpaceError,
    UnsupportedError,
)
from loragraft.export import merge as merge_module
from loragraft.export.merge import base_dtype, merge_checkpoint, merge_into
from loragraft.export.peft_engine import checkpoint_parameters
from tests.export.pico_llama import (
    HIDDEN,
    VOCABULARY,
    deltas,
    make_adapter,
    make_weights,
    merged_weights,
    save_base,
)

BASE = make_weights(21)
PREFIX = "base_model.model."


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), BASE)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "adapter", 22)


def edit_config(adapter: Path, **values: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_tensors(adapter: Path, add: dict[str, np.ndarray], drop: str | None = None) -> None:  # type: ignore[type-arg]
    path = adapter / "adapter_model.safetensors"
    tensors = {k: v for k, v in load_file(path).items() if drop is None or drop not in k}
    save_file({**tensors, **add}, path, {"format": "pt"})


def test_a_merge_is_base_plus_delta_and_whole(base: Path, adapter: Path, tmp_path: Path) -> None:
    report = merge_checkpoint(base, [(adapter, 1.0)], tmp_path / "out" / "merged")
    merged = load_file(report.folder / "model.safetensors")
    expected = merged_weights(BASE, deltas(adapter))
    assert set(merged) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(merged[name], values, atol=1e-6)
    assert check_checksums(report.folder) == []
    config = json.loads((report.folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (report.folder / name).read_bytes() == (base / name).read_bytes()
    metadata = json.loads((report.folder / "EXPERIMENT_METADATA.json").read_text())
    assert metadata["kind"] == "merged-checkpoint"
    assert metadata["adapters"][0]["scale"] == 1.0


def test_scales_and_several_adapters_add_up(base: Path, adapter: Path, tmp_path: Path) -> None:
    second = make_adapter(tmp_path / "second", 23)
    merge_into(base, [(adapter, 0.5), (second, 2.0)], tmp_path / "out", dtype="float32")
    once = merged_weights(BASE, deltas(adapter), 0.5)
    expected = merged_weights(once, deltas(second), 2.0)
    for name, values in load_file(tmp_path / "out" / "model.safetensors").items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_half_precision_is_rounded_once_unless_asked(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file as load_torch

    merge_checkpoint(base, [(adapter, 1.0)], tmp_path / "fine", dtype="bfloat16")
    expected = merged_weights(BASE, deltas(adapter))
    for name, values in load_torch(tmp_path / "fine" / "model.safetensors").items():
        assert values.dtype == torch.bfloat16
        difference = (
            values.float().numpy() - torch.from_numpy(expected[name]).bfloat16().float().numpy()
        )
        assert np.abs(difference).max() <= 2**-8 * np.abs(expected[name]).max()
        assert (difference != 0).mean() < 0.01


def test_the_adapters_tokenizer_template_and_settings_come_first(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    (adapter / "chat_template.jinja").write_text("adapter's")
    (adapter / "generation_config.json").write_text('{"top_k": 3}')
    merge_into(base, [(adapter, 1.0)], tmp_path / "out", dtype="float32")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "adapter's"
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text()) == {"top_k": 3}
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (
        base / "tokenizer.json"
    ).read_bytes()


def test_other_file_names_are_accepted(base: Path, adapter: Path, tmp_path: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter.safetensors")
    merge_into(base, [(adapter, 1.0)], tmp_path / "out", dtype="float32")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert not np.array_equal(
        merged["model.layers.0.mlp.up_proj.weight"], BASE["model.layers.0.mlp.up_proj.weight"]
    )


def test_a_lora_on_one_side_of_tied_embeddings_unties(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(1)
    a = generator.normal(0, 1, (4, HIDDEN)).astype(np.float32)
    b = generator.normal(0, 0.01, (VOCABULARY, 4)).astype(np.float32)
    edit_tensors(
        adapter, {f"{PREFIX}lm_head.lora_A.weight": a, f"{PREFIX}lm_head.lora_B.weight": b}
    )
    config = json.loads((adapter / "adapter_config.json").read_text())
    edit_config(adapter, target_modules=[*config["target_modules"], "lm_head"])
    report = merge_into(base, [(adapter, 1.0)], tmp_path / "out", dtype="float32")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    embedding = BASE["model.embed_tokens.weight"]
    np.testing.assert_allclose(merged["lm_head.weight"], embedding + 2 * b @ a, atol=1e-5)
    assert np.array_equal(merged["model.embed_tokens.weight"], embedding)
    assert (
        json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False
    )
    assert any("untied" in note for note in report.notes)


def test_a_resized_vocabulary_is_taken_from_the_adapter(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    rows = np.random.default_rng(2).normal(0, 0.06, (VOCABULARY + 5, HIDDEN)).astype(np.float32)
    names = ("model.embed_tokens.weight", "lm_head.weight")
    edit_tensors(adapter, {PREFIX + name: rows for name in names})
    edit_config(adapter, modules_to_save=["embed_tokens", "lm_head"])
    report = merge_into(base, [(adapter, 1.0)], tmp_path / "out", dtype="float32")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(merged["model.embed_tokens.weight"], rows)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vocab_size"] == VOCABULARY + 5
    assert config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in merged
    assert any("resized" in note for note in report.notes)


def test_new_tokens_without_rows_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({"id": 300, "content": "<new>"})
    (adapter / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(AdapterError, match="token 300"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_keys_that_land_nowhere_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    extra = np.zeros((4, HIDDEN), np.float32)
    edit_tensors(adapter, {f"{PREFIX}model.layers.9.mlp.up_proj.lora_A.weight": extra})
    with pytest.raises(AdapterError, match=r"1 that land nowhere .*layers\.9"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_missing_keys_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    edit_tensors(adapter, {}, drop="layers.1.mlp.up_proj")
    with pytest.raises(AdapterError, match=r"2 missing .*layers\.1\.mlp\.up_proj"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_another_width_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    key = f"{PREFIX}model.layers.0.mlp.up_proj.lora_A.weight"
    edit_tensors(adapter, {key: np.zeros((4, HIDDEN * 2), np.float32)})
    with pytest.raises(AdapterError, match="does not fit the base"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_broken_values_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    key = f"{PREFIX}model.layers.0.mlp.up_proj.lora_A.weight"
    edit_tensors(adapter, {key: np.full((4, HIDDEN), np.nan, np.float32)})
    with pytest.raises(NonFiniteError, match="NaN or Inf"):
        merge_checkpoint(base, [(adapter, 1.0)], tmp_path / "out" / "m")
    assert list((tmp_path / "out").glob("[!.]*")) == []


def test_a_prompt_adapter_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    config = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="nothing to merge"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_a_quantized_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    quantized = save_base(tmp_path / "q", BASE, quantization_config={"quant_method": "gptq"})
    with pytest.raises(UnsupportedError, match=r"quantized \(gptq\)"):
        merge_into(quantized, [(adapter, 1.0)], tmp_path / "out")


def test_a_base_with_missing_weights_is_refused(adapter: Path, tmp_path: Path) -> None:
    part = {name: values for name, values in BASE.items() if "layers.1.mlp" not in name}
    with pytest.raises(CheckpointError, match="lacks 3 weights"):
        merge_into(save_base(tmp_path / "part", part), [(adapter, 1.0)], tmp_path / "out")


def test_too_little_memory_names_the_way_that_does(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_module, "memory_needed", lambda base, dtype: 1 << 60)
    with pytest.raises(OutOfMemoryError, match="--engine stream"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_every_shard_is_counted_whatever_its_name(base: Path, tmp_path: Path) -> None:
    expected = sum(values.size for values in BASE.values())
    assert checkpoint_parameters(base) == expected
    odd = save_base(tmp_path / "odd", BASE)
    names = sorted(BASE)
    shards = {"first.safetensors": names[:5], "pytorch-2-of-2.safetensors": names[5:]}
    for shard, held in shards.items():
        save_file({name: BASE[name] for name in held}, odd / shard, {"format": "pt"})
    (odd / "model.safetensors").unlink()
    weight_map = {name: shard for shard, held in shards.items() for name in held}
    (odd / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert checkpoint_parameters(odd) == expected


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": None, "torch_dtype": "float16"}, "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, "bfloat16"),
        ({"text_config": {"torch_dtype": "bfloat16"}}, "bfloat16"),
        ({"dtype": {}, "text_config": {"torch_dtype": "bfloat16"}}, "bfloat16"),
        ({"dtype": "float8"}, "float32"),
        ({"text_config": "x"}, "float32"),
        ({}, "float32"),
    ],
)
def test_the_bases_own_type_is_found(config: dict[str, object], dtype: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert base_dtype(tmp_path) == dtype


def test_too_little_disk_names_what_is_missing(
    base: Path, adapter: Path, tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(OutOfSpaceError, match=r"The merged checkpoint needs .* are missing"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_a_missing_package_names_the_command_that_installs_it(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)  # as the import system marks what is not there
    with pytest.raises(MissingExtraError, match=r"'peft', which .* \"loragraft\[peft\]"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_a_base_that_transformers_does_not_know_is_refused(adapter: Path, tmp_path: Path) -> None:
    odd = save_base(tmp_path / "odd", BASE, model_type="odd", architectures=["OddForCausalLM"])
    with pytest.raises(CheckpointError, match=r"transformers cannot load .*odd"):
        merge_into(odd, [(adapter, 1.0)], tmp_path / "out")


def test_no_quantization_is_no_obstacle(adapter: Path, tmp_path: Path) -> None:
    plain = save_base(tmp_path / "plain", BASE, quantization_config=None)
    assert merge_into(plain, [(adapter, 1.0)], tmp_path / "out").dtype == "float32"


def test_an_mlx_adapter_is_refused_with_the_engine_that_takes_it(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 2.0}}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match=r"is an MLX adapter.*--engine stream"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_weights_that_overflow_the_type_are_named(adapter: Path, tmp_path: Path) -> None:
    large = {name: values.copy() for name, values in BASE.items()}
    large["model.embed_tokens.weight"][3, 4] = 7e4  # half precision ends at 65504
    base = save_base(tmp_path / "large", large)
    merge_into(base, [(adapter, 1.0)], tmp_path / "fine", dtype="float32")
    with pytest.raises(NonFiniteError, match=r"embed_tokens\.weight holds .* large weights over"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out", dtype="float16", compute="float32")


def test_a_saved_module_cannot_be_scaled_and_must_be_there(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    edit_config(adapter, modules_to_save=["model.norm"])
    with pytest.raises(AdapterError, match=r"lacks the weights .*norm.*, which it asks for"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")
    edit_tensors(adapter, {f"{PREFIX}model.norm.weight": np.full(HIDDEN, 2.0, np.float32)})
    with pytest.raises(AdapterError, match=r"replaces whole tensors, .* cannot be scaled by 0\.5"):
        merge_into(base, [(adapter, 0.5)], tmp_path / "out")
    merge_into(base, [(adapter, 1.0)], tmp_path / "out")
    norm = load_file(tmp_path / "out" / "model.safetensors")["model.norm.weight"]
    assert norm.tolist() == [2.0] * HIDDEN


def save_by_peft(base: Path, folder: Path, kind: str, **options: object) -> Path:
    """Let PEFT save an adapter of a type, as it is before the first step."""
    import peft

    from loragraft.export.peft_engine import load_model

    config = getattr(peft, f"{kind}Config")(target_modules=["q_proj"], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.get_peft_model(load_model(base, "float32"), config).save_pretrained(str(folder))
    return folder


def test_a_type_without_a_scale_is_told_so(base: Path, tmp_path: Path) -> None:
    adapter = save_by_peft(base, tmp_path / "ia3", "IA3", feedforward_modules=[])
    merge_into(base, [(adapter, 1.0)], tmp_path / "out")
    with pytest.raises(AdapterError, match=r"is of a type without a scale"):
        merge_into(base, [(adapter, 0.5)], tmp_path / "out")


def test_a_type_that_peft_cannot_merge_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = save_by_peft(base, tmp_path / "lily", "Lily", r=2, num_B=2, stride_A=1)
    with pytest.raises(UnsupportedError, match=r"PEFT cannot merge adapters of type LILY"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out")


def test_an_unknown_type_and_a_taken_name_are_refused(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="int8"):
        merge_into(base, [(adapter, 1.0)], tmp_path / "out", dtype="int8")
    (tmp_path / "taken").mkdir()
    with pytest.raises(BundleError, match="--replace"):
        merge_checkpoint(base, [(adapter, 1.0)], tmp_path / "taken")


def test_loha_merges_as_peft_does(base: Path, tmp_path: Path) -> None:
    from peft import LoHaConfig, get_peft_model

    from loragraft.export.peft_engine import load_model

    config = LoHaConfig(r=2, alpha=4, target_modules=["q_proj"], init_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between transformers and PEFT
        model = get_peft_model(load_model(base, "float32"), config)
    model.save_pretrained(str(tmp_path / "loha"))
    merge_into(base, [(tmp_path / "loha", 1.0)], tmp_path / "out", dtype="float32")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    expected = model.merge_and_unload().state_dict()[name].numpy()
    np.testing.assert_allclose(merged[name], expected, atol=1e-6)
    assert not np.array_equal(merged[name], BASE[name])
