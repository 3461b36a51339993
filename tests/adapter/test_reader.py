"""Opening adapters: every key in one group, nothing dropped, values as stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loragraft.adapter.findings import Severity
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.errors import AdapterError
from tests.adapter.builders import PREFIX, Arrays, lora_arrays

Make = Callable[..., Path]
Q0 = "model.layers.0.self_attn.q_proj"
HEAD = np.ones((128, 64), dtype=np.float32)


def grouped_keys(adapter: Adapter) -> list[str]:
    """Return every key of every group, so that a key in two groups stands twice."""
    keys = [key for module in adapter.modules.values() for key in module.keys]
    keys += [*adapter.saved.values(), *adapter.biases.values(), *adapter.originals.values()]
    keys += [*adapter.frozen.values(), *(rows.key for rows in adapter.token_rows.values())]
    return sorted([*keys, *adapter.unknown])


def codes(adapter: Adapter) -> set[str]:
    return {finding.code for finding in adapter.findings}


def test_a_plain_adapter_is_grouped_without_findings(make_adapter: Make) -> None:
    arrays = lora_arrays()
    with open_adapter(make_adapter(arrays)) as adapter:
        module = adapter.modules[Q0]
        assert (module.kind, module.rank, module.alpha, module.scaling) == ("linear", 4, 8.0, 2.0)
        assert (module.in_features, module.out_features) == (64, 64)
        assert len(adapter.modules) == 4
        assert adapter.unknown == ()
        assert adapter.findings == ()
        np.testing.assert_array_equal(adapter.array(module.a_key), arrays[module.a_key])
        assert grouped_keys(adapter) == sorted(arrays)


def test_the_hash_is_the_files(make_adapter: Make) -> None:
    with open_adapter(make_adapter()) as adapter:
        assert adapter.sha256 == hashlib.sha256(adapter.path.read_bytes()).hexdigest()
        assert adapter.folder == adapter.path.parent
        assert adapter.parameters == sum(a.size for a in lora_arrays().values())


def test_half_precision_is_decoded(make_adapter: Make) -> None:
    arrays = lora_arrays(dtype="float16")
    with open_adapter(make_adapter(arrays)) as adapter:
        key = adapter.modules[Q0].b_key
        assert adapter.array(key).dtype == np.float32
        np.testing.assert_array_equal(adapter.array(key), arrays[key].astype(np.float32))
        with pytest.raises(AdapterError, match="no tensor 'nothing'"):
            adapter.array("nothing")


def test_each_kind_of_key_has_its_group(make_adapter: Make) -> None:
    arrays: Arrays = {
        **lora_arrays(),
        f"{PREFIX}{Q0}.lora_magnitude_vector": np.ones(64, np.float32),
        f"{PREFIX}{Q0}.lora_B.bias": np.ones(64, np.float32),
        f"{PREFIX}{Q0}.base_layer.bias": np.ones(64, np.float32),
        f"{PREFIX}model.embed_tokens.lora_embedding_A": np.ones((4, 128), np.float32),
        f"{PREFIX}model.embed_tokens.lora_embedding_B": np.ones((64, 4), np.float32),
        f"{PREFIX}model.embed_tokens.base_layer.weight": HEAD,
        f"{PREFIX}lm_head.modules_to_save.default.weight": HEAD,
        f"{PREFIX}lm_head.original_module.weight": HEAD,
        f"{PREFIX}model.wte.token_adapter.trainable_tokens_delta": np.ones((2, 64), np.float32),
    }
    with open_adapter(make_adapter(
        arrays, bias="lora_only", modules_to_save=["lm_head"], trainable_token_indices=[3, 9]
    )) as adapter:  # fmt: skip
        assert adapter.modules[Q0].magnitude_key == f"{PREFIX}{Q0}.lora_magnitude_vector"
        assert adapter.modules[Q0].bias_key == f"{PREFIX}{Q0}.lora_B.bias"
        embedding = adapter.modules["model.embed_tokens"]
        assert (embedding.kind, embedding.in_features, embedding.out_features) == (
            "embedding", 128, 64)  # fmt: skip
        assert set(adapter.saved) == {"lm_head.weight"}
        assert set(adapter.frozen) == {"model.embed_tokens.weight"}
        assert set(adapter.biases) == {f"{Q0}.bias"}
        assert set(adapter.originals) == {"lm_head.weight"}
        assert adapter.token_rows["model.wte"].indices == (3, 9)
        assert adapter.unknown == ()
        assert grouped_keys(adapter) == sorted(arrays)


def test_peft_keys_with_the_default_name_inside_are_read(make_adapter: Make) -> None:
    arrays = {
        key.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default."): value
        for key, value in lora_arrays().items()
    }
    arrays[f"{PREFIX}{Q0}.lora_magnitude_vector.default.weight"] = np.ones(64, np.float32)
    with open_adapter(make_adapter(arrays)) as adapter:
        assert len(adapter.modules) == 4
        assert adapter.modules[Q0].magnitude_key is not None
        assert codes(adapter) == {"dora.undeclared"}


def test_another_name_inside_is_read_and_said(make_adapter: Make) -> None:
    arrays = {k.replace(".lora_", ".lora_", 1).replace(".weight", ".science.weight"): v
              for k, v in lora_arrays().items()}  # fmt: skip
    with open_adapter(make_adapter(arrays)) as adapter:
        assert len(adapter.modules) == 4
        assert codes(adapter) == {"keys.adapter_name"}


def test_two_names_inside_are_not_mixed(make_adapter: Make) -> None:
    arrays = {}
    for name in ("one", "two"):
        arrays |= {k.replace(".weight", f".{name}.weight"): v for k, v in lora_arrays().items()}
    with open_adapter(make_adapter(arrays)) as adapter:
        assert not adapter.modules
        assert len(adapter.unknown) == len(arrays)
        assert "several adapters" in adapter.findings[0].measured


def swap(prefix: str) -> Arrays:
    return {prefix + key.removeprefix(PREFIX): value for key, value in lora_arrays().items()}


@pytest.mark.parametrize(
    ("prefix", "hint"),
    [
        ("", "save_pretrained"),
        ("module.base_model.model.", "DistributedDataParallel"),
        ("_orig_mod.base_model.model.", "torch.compile"),
        ("base_model._orig_mod.", "torch.compile"),
        ("model.base_model.model.", "save_pretrained"),
    ],
)
def test_a_wrong_prefix_is_not_guessed_away(prefix: str, hint: str, make_adapter: Make) -> None:
    with open_adapter(make_adapter(swap(prefix))) as adapter:
        assert not adapter.modules
        assert len(adapter.unknown) == 8
        assert hint in adapter.findings[0].next_step


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({f"{PREFIX}{Q0}.lora_B.weight": None}, "without its B"),
        ({f"{PREFIX}{Q0}.lora_A.weight": None}, "without its A"),
        ({f"{PREFIX}{Q0}.lora_A.weight": np.ones((5, 64), np.float32)}, "ranks differ"),
        ({f"{PREFIX}{Q0}.lora_A.weight": np.ones((4, 64, 3), np.float32)}, "not two matrices"),
        ({f"{PREFIX}{Q0}.lora_A.weight": np.ones(4, np.float32)}, "not two matrices"),
        ({f"{PREFIX}{Q0}.lora_A.weight": np.ones((0, 64), np.float32)}, "does not gather"),
        ({f"{PREFIX}{Q0}.lora_A.weight": np.ones((4, 64), np.int8)}, "dtype I8"),
        ({f"{PREFIX}{Q0}.lora_A.bias": np.ones(4, np.float32)}, "does not have"),
        ({f"{PREFIX}{Q0}.lora_B.bias": np.ones(3, np.float32)}, "not one an output"),
        ({f"{PREFIX}{Q0}.lora_magnitude_vector": np.ones(63, np.float32)}, "not one an output"),
        ({f"{PREFIX}{Q0}.lora_E": np.ones(4, np.float32)}, "do not hold"),
        ({f"{PREFIX}{Q0}.lora_A.a.b.weight": np.ones((4, 64), np.float32)}, "do not hold"),
        ({f"{PREFIX}{Q0}.lora_A.default.weight": np.ones((4, 64), np.float32)}, "second one"),
        ({f"{PREFIX}x.token_adapter.trainable_tokens_delta": HEAD}, "does not name"),
        ({f"{PREFIX}model.rotary.inv_freq": np.ones(4, np.float32)}, "do not hold"),
    ],
)
def test_what_does_not_fit_is_listed_with_the_reason(
    change: dict[str, np.ndarray | None], said: str, make_adapter: Make
) -> None:
    arrays = {k: v for k, v in {**lora_arrays(), **change}.items() if v is not None}
    with open_adapter(make_adapter(arrays)) as adapter:
        assert adapter.unknown
        found = [finding.measured for finding in adapter.findings]
        assert any(said in measured for measured in found), found
        assert all(f.severity is Severity.FAIL for f in adapter.findings)
        assert grouped_keys(adapter) == sorted(arrays)


@pytest.mark.parametrize(
    ("extra", "config", "code"),
    [
        ({}, {"use_dora": True}, "dora.magnitude_missing"),
        ({f"{PREFIX}{Q0}.lora_magnitude_vector": np.ones(64, np.float32)}, {}, "dora.undeclared"),
        ({}, {"lora_bias": True}, "lora_bias.missing"),
        ({f"{PREFIX}{Q0}.lora_B.bias": np.ones(64, np.float32)}, {}, "lora_bias.undeclared"),
        ({}, {"modules_to_save": ["lm_head"]}, "saved.missing"),
        ({f"{PREFIX}score.weight": HEAD}, {}, "saved.undeclared"),
        ({f"{PREFIX}{Q0}.bias": np.ones(64, np.float32)}, {}, "bias.undeclared"),
    ],
)
def test_file_and_configuration_are_compared(
    extra: Arrays, config: dict[str, object], code: str, make_adapter: Make
) -> None:
    with open_adapter(make_adapter({**lora_arrays(), **extra}, **config)) as adapter:
        assert codes(adapter) == {code}


@pytest.mark.parametrize(
    ("extra", "config"),
    [
        ({f"{PREFIX}lm_head.weight": HEAD}, {"modules_to_save": ["lm_head"]}),
        ({f"{PREFIX}lm_head.weight": HEAD, f"{PREFIX}model.embed_tokens.weight": HEAD}, {}),
        ({f"{PREFIX}{Q0}.base_layer.bias": np.ones(64, np.float32)}, {"bias": "all"}),
        ({f"{PREFIX}score.out.weight": HEAD}, {"modules_to_save": ["score"]}),
    ],
)
def test_what_is_declared_is_silent(
    extra: Arrays, config: dict[str, object], make_adapter: Make
) -> None:
    with open_adapter(make_adapter({**lora_arrays(), **extra}, **config)) as adapter:
        assert codes(adapter) == set()


def test_an_adapter_of_another_type_opens_with_its_keys_unknown(make_adapter: Make) -> None:
    arrays = {f"{PREFIX}{Q0}.hada_w1_a": np.ones((4, 4), np.float32)}
    with open_adapter(make_adapter(arrays, peft_type="LOHA")) as adapter:
        assert adapter.config.peft_type == "LOHA"
        assert adapter.unknown == tuple(arrays)


@pytest.mark.parametrize("damage", ["truncated", "header only", "empty", "not safetensors"])
def test_a_damaged_file_is_an_adapter_error(damage: str, make_adapter: Make) -> None:
    path = make_adapter() / "adapter_model.safetensors"
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    kept = {"truncated": data[:-7], "header only": data[:header], "empty": b"",
            "not safetensors": b"PK" + data[2:]}  # fmt: skip
    path.write_bytes(kept[damage])
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors"):
        open_adapter(path.parent)


def mlx_folder(folder: Path, arrays: Arrays, **config: object) -> Path:
    save_file(arrays, folder / "adapters.safetensors")
    values = {"fine_tune_type": "lora", "num_layers": 1, "model": "mlx-community/x-4bit",
              "lora_parameters": {"rank": 4, "scale": 20.0, "dropout": 0.0}}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps({**values, **config}))
    return folder


def mlx_arrays(name: str = Q0) -> Arrays:
    rng = np.random.default_rng(3)
    return {
        f"{name}.lora_a": rng.normal(size=(64, 4)).astype(np.float32),
        f"{name}.lora_b": rng.normal(size=(4, 32)).astype(np.float32),
    }


def test_mlx_factors_are_transposed_and_the_scale_is_kept(tmp_path: Path) -> None:
    arrays = mlx_arrays()
    with open_adapter(mlx_folder(tmp_path, arrays)) as adapter:
        module = adapter.modules[Q0]
        assert (module.rank, module.in_features, module.out_features) == (4, 64, 32)
        assert (module.scaling, adapter.config.lora_alpha) == (20.0, 80.0)
        assert adapter.config.base_model_name_or_path == "mlx-community/x-4bit"
        delta = module.scaling * adapter.array(module.b_key) @ adapter.array(module.a_key)
        x = np.random.default_rng(4).normal(size=(3, 64)).astype(np.float32)
        expected = 20.0 * (x @ arrays[f"{Q0}.lora_a"]) @ arrays[f"{Q0}.lora_b"]
        np.testing.assert_allclose(x @ delta.T, expected, rtol=2e-5, atol=1e-3)
        assert adapter.array(module.a_key).flags["C_CONTIGUOUS"]


def test_mlx_embeddings_and_dora_are_converted(tmp_path: Path) -> None:
    arrays = {**mlx_arrays(), f"{Q0}.m": np.ones(32, np.float32)}
    with open_adapter(mlx_folder(tmp_path, arrays, fine_tune_type="dora")) as adapter:
        assert adapter.config.use_dora
        assert adapter.modules[Q0].magnitude_key == f"{Q0}.m"
    with open_adapter(mlx_folder(tmp_path, mlx_arrays("model.embed_tokens"))) as adapter:
        assert adapter.modules["model.embed_tokens"].kind == "embedding"


@pytest.mark.parametrize(
    ("alpha", "words"), [(8, "was 10 or 20, by the version"), ("x", "was 10, by the")]
)
def test_mlx_alpha_beside_scale_is_a_warning(alpha: object, words: str, tmp_path: Path) -> None:
    parameters = {"rank": 4, "scale": 10.0, "alpha": alpha}
    with open_adapter(mlx_folder(tmp_path, mlx_arrays(), lora_parameters=parameters)) as adapter:
        assert adapter.modules[Q0].scaling == 10.0
        (finding,) = adapter.findings
        assert (finding.code, finding.severity) == ("mlx.alpha", Severity.WARN)
        assert words in finding.next_step


def test_mlx_alpha_that_changes_nothing_is_silent(tmp_path: Path) -> None:
    parameters = {"rank": 4, "scale": 10.0, "alpha": 4}
    with open_adapter(mlx_folder(tmp_path, mlx_arrays(), lora_parameters=parameters)) as adapter:
        assert adapter.findings == ()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"fine_tune_type": "full"}, "full fine-tune"),
        ({"fine_tune_type": "other"}, "unknown"),
        ({"lora_parameters": None}, "lora_parameters"),
        ({"lora_parameters": {"rank": 0, "scale": 1.0}}, "rank = 0"),
        ({"lora_parameters": {"rank": 4}}, "scale = None"),
        ({"lora_parameters": {"rank": 4, "alpha": 8}}, "scale = None.*every version of MLX"),
        ({"lora_parameters": {"rank": 4, "scale": "20"}}, "scale = '20'"),
    ],
)
def test_mlx_refusals_say_why(config: dict[str, object], message: str, tmp_path: Path) -> None:
    from loragraft.errors import LoragraftError

    with pytest.raises(LoragraftError, match=message):
        open_adapter(mlx_folder(tmp_path, mlx_arrays(), **config))


@pytest.mark.parametrize(
    "extra",
    [
        {"model.layers.1.x.lora_a": np.ones((64, 4), np.float32)},
        {"model.layers.1.x.weight": np.ones((64, 4), np.float32)},
        {f"{Q0}.m": np.ones(32, np.float32)},
        {"e.lora_a": np.ones((2, 4, 8), np.float32), "e.lora_b": np.ones((2, 8, 4), np.float32)},
    ],
)
def test_mlx_keys_are_never_dropped(extra: Arrays, tmp_path: Path) -> None:
    with open_adapter(mlx_folder(tmp_path, {**mlx_arrays(), **extra})) as adapter:
        assert adapter.unknown
        assert grouped_keys(adapter) == sorted({**mlx_arrays(), **extra})
        assert codes(adapter) == {"keys.unknown"}
