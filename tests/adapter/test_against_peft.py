"""The reader against PEFT itself: scaling, grouping and what PEFT keeps silent about.

Every adapter is saved by PEFT from a two-layer model and loaded again by PEFT; what its layers
hold then is compared with what the reader says of the same file.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from loragraft.adapter.checks import CheckContext, check_rank
from loragraft.adapter.config import streamable
from loragraft.adapter.findings import Severity, worst
from loragraft.adapter.match import match_modules
from loragraft.adapter.reader import Adapter, open_adapter

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow  # importing torch, transformers and peft alone takes seconds

Model = Any  # of transformers or PEFT, which ship no types
PREFIX = "base_model.model."
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Let PEFT warn: its warnings are what the reader does better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def pico() -> Model:
    """Return an untied two-layer Llama, hidden 64, with attention biases."""
    return _pico(tied=False)


@pytest.fixture(scope="module")
def tied() -> Model:
    """Return the same with the output head tied to the embedding."""
    return _pico(tied=True)


def _pico(tied: bool) -> Model:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=128, tie_word_embeddings=tied, attention_bias=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def save(base: Model, folder: Path, **options: object) -> Path:
    """Put a LoRA on a copy of a model, fill it with random values and save it by PEFT."""
    torch.manual_seed(1)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", **{"r": 4, "target_modules": TARGETS, **options}
    )
    model = peft.get_peft_model(copy.deepcopy(base), config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad or "lora_" in name:
                value.copy_(torch.rand_like(value) + 0.1)
    model.save_pretrained(folder)
    return folder


def load(base: Model, folder: Path) -> Model:
    """Load an adapter by PEFT onto a fresh copy of a model."""
    return peft.PeftModel.from_pretrained(copy.deepcopy(base), folder)


def lora_layers(model: Model) -> dict[str, Any]:
    """Return PEFT's LoRA layers by base module path."""
    layer = peft.tuners.lora.LoraLayer
    return {name.removeprefix(PREFIX): module for name, module in model.named_modules()
            if isinstance(module, layer)}  # fmt: skip


def delta(adapter: Adapter, name: str) -> np.ndarray:
    """Compute ΔW as the reader's contract says."""
    module = adapter.modules[name]
    product = module.scaling * adapter.array(module.b_key) @ adapter.array(module.a_key)
    return product.T if module.kind == "embedding" or module.fan_in_fan_out else product


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "alpha": {"lora_alpha": 7},
    "rslora": {"use_rslora": True, "lora_alpha": 16},
    "rank pattern": {"rank_pattern": {"layers.0.self_attn.q_proj": 2, "v_proj": 3}},
    "patterns": {
        "rank_pattern": {r"layers\.\d+\.mlp\.up_proj": 2, "up_proj": 5},
        "alpha_pattern": {"up_proj": 3, "model.layers.1.self_attn.k_proj": 11},
        "use_rslora": True,
    },
    "pattern anchors": {"rank_pattern": {"^model.layers.0.self_attn.q_proj": 2, "1.*q_proj": 6}},
    "layers": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "one layer": {
        "target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "layers",
    },
    "regex": {"target_modules": r".*\.1\.(self_attn|mlp)\..*(q|up)_proj"},
    "excluded": {"exclude_modules": ["layers.0.self_attn.q_proj"]},
    "all-linear": {"target_modules": "all-linear"},
    "dora": {"use_dora": True},
    "dora embedding": {"use_dora": True, "target_modules": ["embed_tokens", "q_proj"]},
    "lora bias": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "embedding": {"target_modules": ["embed_tokens", "v_proj"]},
    "head": {"target_modules": ["lm_head", "v_proj"]},
    "token rows": {"trainable_token_indices": [1, 5, 99]},
    "token rows by name": {"trainable_token_indices": {"embed_tokens": [1], "lm_head": [3, 4]}},
    "saved": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "saved norm": {"modules_to_save": ["norm"], "target_modules": ["q_proj"]},
    "bias all": {"bias": "all", "target_modules": ["q_proj"]},
    "bias lora_only": {"bias": "lora_only", "target_modules": ["q_proj", "o_proj"]},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_scaling_and_deltas_are_pefts(name: str, pico: Model, tmp_path: Path) -> None:
    folder = save(pico, tmp_path, **OPTIONS[name])
    layers = lora_layers(load(pico, folder))
    with open_adapter(folder) as adapter:
        assert adapter.unknown == ()
        assert worst(adapter.findings) is Severity.PASS, adapter.findings
        assert streamable(adapter.config) is None
        assert set(adapter.modules) == set(layers)
        for module, layer in layers.items():
            ours = adapter.modules[module]
            assert ours.scaling == layer.scaling["default"]
            assert ours.rank == layer.r["default"] == adapter.config.rank_of(module)
            assert ours.alpha == layer.lora_alpha["default"]
            expected = layer.get_delta_weight("default").detach().numpy()
            np.testing.assert_allclose(delta(adapter, module), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIONS)
def test_targets_are_pefts(name: str, pico: Model, tmp_path: Path) -> None:
    folder = save(pico, tmp_path, **OPTIONS[name])
    layers = lora_layers(load(pico, folder))
    modules = [path for path, _ in pico.named_modules()]
    with open_adapter(folder) as adapter:
        assert {path for path in modules if adapter.config.targets(path)} == set(layers)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_key_lands_on_what_peft_loads_it_into(
    name: str,
    pico: Model,
    tmp_path: Path,
) -> None:
    folder = save(pico, tmp_path, **OPTIONS[name])
    model = load(pico, folder)
    values = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    with open_adapter(folder) as adapter:
        match = match_modules(adapter, list(pico.state_dict()))
        assert (match.missing, match.missing_others, match.rewrite) == ((), (), None)
        for module in adapter.modules.values():
            stem = f"{PREFIX}{module.name}"
            if module.magnitude_key is not None:
                key = f"{stem}.lora_magnitude_vector.default.weight"
                np.testing.assert_array_equal(values[key], adapter.array(module.magnitude_key))
            if module.bias_key is not None:
                key = f"{stem}.lora_B.default.bias"
                np.testing.assert_array_equal(values[key], adapter.array(module.bias_key))
        for target, key in [*adapter.saved.items(), *adapter.biases.items()]:
            path, _, leaf = target.rpartition(".")
            stems = (f"modules_to_save.default.{leaf}", f"base_layer.{leaf}", leaf)
            places = [f"{PREFIX}{path}.{stem}" for stem in stems]
            place = next(place for place in places if place in values)
            np.testing.assert_array_equal(values[place], adapter.array(key))


NOT_ADDED = ("dora", "dora embedding")
"""DoRA rescales: its parts do not add up."""
ONE_SIDED = ("head", "embedding", "saved", "token rows by name")
"""One side of a tied pair is an export's decision, not the reader's."""


@pytest.mark.parametrize(
    ("name", "tying"),
    [
        (name, tying)
        for name in OPTIONS
        for tying in ("untied", "tied")
        if name not in NOT_ADDED and (tying == "untied" or name not in ONE_SIDED)
    ],
)
def test_the_parts_add_up_to_pefts_merge(
    name: str,
    tying: str,
    pico: Model,
    tied: Model,
    tmp_path: Path,
) -> None:
    """Apply saved tensors, deltas, biases and token rows to the base: PEFT's merge comes out."""
    base = tied if tying == "tied" else pico
    folder = save(base, tmp_path, **OPTIONS[name])
    merged = load(base, folder).merge_and_unload().state_dict()
    state = {key: value.detach().numpy().copy() for key, value in base.state_dict().items()}
    with open_adapter(folder) as adapter:
        for target, key in [*adapter.saved.items(), *adapter.biases.items()]:
            state[target] = adapter.array(key)
        for path, module in adapter.modules.items():
            state[f"{path}.weight"] = state[f"{path}.weight"] + delta(adapter, path)
            if module.bias_key is not None:
                state[f"{path}.bias"] = state[f"{path}.bias"] + module.scaling * adapter.array(
                    module.bias_key
                )
        for path, rows in adapter.token_rows.items():
            state[f"{path}.weight"][list(rows.indices)] = adapter.array(rows.key)
    if tying == "tied":
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    for key, value in merged.items():
        np.testing.assert_allclose(state[key], value.detach().numpy(), rtol=1e-5, atol=2e-6)


def test_dora_merges_as_the_contract_says(pico: Model, tmp_path: Path) -> None:
    folder = save(pico, tmp_path, **OPTIONS["dora embedding"])
    merged = load(pico, folder).merge_and_unload().state_dict()
    with open_adapter(folder) as adapter:
        for path, module in adapter.modules.items():
            saved = adapter.saved.get(f"{path}.weight")
            base = pico.state_dict()[f"{path}.weight"].detach().numpy()
            added = (base if saved is None else adapter.array(saved)) + delta(adapter, path)
            axis = 0 if module.kind == "embedding" else 1
            norm = np.linalg.norm(added, axis=axis, keepdims=True)
            assert module.magnitude_key is not None
            factor = adapter.array(module.magnitude_key).reshape(norm.shape) / norm
            expected = merged[f"{path}.weight"].detach().numpy()
            np.testing.assert_allclose(factor * added, expected, rtol=1e-4, atol=1e-5)


def test_gpt2s_transposed_weights_are_flagged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=64, n_positions=16)
    base = transformers.GPT2LMHeadModel(config)
    folder = save(base, tmp_path, target_modules=["c_attn"], fan_in_fan_out=True)
    ((name, layer),) = lora_layers(load(base, folder)).items()
    with open_adapter(folder) as adapter:
        assert adapter.modules[name].fan_in_fan_out
        expected = layer.get_delta_weight("default").detach().numpy()
        np.testing.assert_allclose(delta(adapter, name), expected, rtol=1e-5, atol=1e-6)


def test_a_resized_embedding_is_found_as_saved(pico: Model, tmp_path: Path) -> None:
    base = copy.deepcopy(pico)
    base.resize_token_embeddings(136)
    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"])
    model = peft.get_peft_model(base, config)
    model.save_pretrained(tmp_path, save_embedding_layers=True)
    with open_adapter(tmp_path) as adapter:
        shapes = {name: adapter.tensors[key].shape for name, key in adapter.saved.items()}
        assert shapes == {"model.embed_tokens.weight": (136, 64), "lm_head.weight": (136, 64)}
        assert adapter.findings == ()


PATTERN = st.sampled_from([
    "q_proj", "self_attn.q_proj", "layers.0.self_attn.q_proj", r"layers\.1\..*",
    "model.layers.1.mlp.up_proj", "proj", ".*", "^model.*up_proj", "(q|v)_proj",
    "up_proj|down_proj", "0.self_attn.v_proj",
])  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rank=st.integers(1, 9),
    alpha=st.integers(1, 40),
    ranks=st.dictionaries(PATTERN, st.integers(1, 9), max_size=3),
    alphas=st.dictionaries(PATTERN, st.integers(1, 40), max_size=3),
    rslora=st.booleans(),
)
def test_patterns_give_pefts_scaling(
    rank: int,
    alpha: int,
    ranks: dict[str, int],
    alphas: dict[str, int],
    rslora: bool,
    pico: Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ranks, alphas = dict(sorted(ranks.items())), dict(sorted(alphas.items()))  # see the next test
    folder = save(
        pico, tmp_path_factory.mktemp("patterns"), r=rank, lora_alpha=alpha, rank_pattern=ranks,
        alpha_pattern=alphas, use_rslora=rslora, target_modules=["q_proj", "v_proj", "up_proj"],
    )  # fmt: skip
    layers = lora_layers(load(pico, folder))
    with open_adapter(folder) as adapter:
        scaling = {name: module.scaling for name, module in adapter.modules.items()}
        assert scaling == {name: layer.scaling["default"] for name, layer in layers.items()}


def test_peft_sorts_patterns_on_saving_and_the_reader_sees_what_that_breaks(
    pico: Model, tmp_path: Path
) -> None:
    patterns = {"q_proj": 1, "layers.0.self_attn.q_proj": 2}  # in training the first one wins
    folder = save(pico, tmp_path, rank_pattern=patterns, target_modules=["q_proj"])
    with pytest.raises(RuntimeError, match="size mismatch"):
        load(pico, folder)
    with open_adapter(folder) as adapter:
        finding = check_rank(CheckContext(adapter))
    assert finding is not None
    assert finding.severity is Severity.FAIL


def rewrite(folder: Path, change: Callable[[str], str], **config: object) -> Path:
    """Rename keys of a saved adapter and change its configuration."""
    path = folder / "adapter_model.safetensors"
    arrays = {change(key): value for key, value in load_file(path).items()}
    save_file(arrays, path)
    values = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**values, **config}))
    return folder


def loaded_change(base: Model, folder: Path) -> bool:
    """Say whether PEFT's loaded model differs from the base in its output."""
    ids = torch.arange(8)[None]
    with torch.no_grad():
        before = base(ids).logits
        after = load(base, folder)(ids).logits
    return not torch.equal(before, after)


@pytest.mark.parametrize("name", ["science", "default"])
def test_a_name_inside_the_keys_loads_in_peft_only_if_it_is_default(
    name: str,
    pico: Model,
    tmp_path: Path,
) -> None:
    folder = rewrite(save(pico, tmp_path), lambda key: key.replace(".weight", f".{name}.weight"))
    assert loaded_change(pico, folder) == (name == "default")
    with open_adapter(folder) as adapter:
        assert len(adapter.modules) == 14
        said = {finding.code for finding in adapter.findings}
        assert said == (set() if name == "default" else {"keys.adapter_name"})


@pytest.mark.parametrize("prefix", ["", "module.base_model.model.", "base_model._orig_mod."])
def test_peft_ignores_the_prefixes_that_the_reader_refuses(
    prefix: str,
    pico: Model,
    tmp_path: Path,
) -> None:
    folder = rewrite(save(pico, tmp_path), lambda key: prefix + key.removeprefix(PREFIX))
    assert not loaded_change(pico, folder)
    with open_adapter(folder) as adapter:
        assert len(adapter.unknown) == 28


def test_magnitudes_without_use_dora_are_ignored_by_peft_and_reported(
    pico: Model,
    tmp_path: Path,
) -> None:
    plain = save(pico, tmp_path / "plain")
    dora = rewrite(save(pico, tmp_path / "dora", use_dora=True), str, use_dora=False)
    assert lora_layers(load(pico, dora)).keys() == lora_layers(load(pico, plain)).keys()
    with open_adapter(dora) as adapter:
        assert {finding.code for finding in adapter.findings} == {"dora.undeclared"}


def test_what_only_the_file_saves_whole_is_loaded_by_peft_and_reported(
    pico: Model, tmp_path: Path
) -> None:
    options = {"target_modules": ["q_proj"], "modules_to_save": ["norm"], "init_lora_weights": True}
    folder = rewrite(save(pico, tmp_path, **options), str, modules_to_save=None)
    held = load(pico, folder).state_dict()[f"{PREFIX}model.norm.weight"].numpy()
    with open_adapter(folder) as adapter:
        assert {finding.code for finding in adapter.findings} == {"saved.undeclared"}
        saved = adapter.array(adapter.saved["model.norm.weight"])
    np.testing.assert_array_equal(held, saved)
    assert not np.array_equal(saved, pico.state_dict()["model.norm.weight"].numpy())


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("loha", {"cls": "LoHaConfig"}, "LOHA"),
        ("lokr", {"cls": "LoKrConfig"}, "LOKR"),
        ("ia3", {"cls": "IA3Config"}, "IA3"),
        ("vera", {"cls": "VeraConfig"}, "VERA"),
        ("pissa", {"init_lora_weights": "pissa"}, "pissa"),
        ("olora", {"init_lora_weights": "olora"}, "olora"),
        ("replicated", {"layer_replication": [[0, 2], [0, 2]]}, "repeats layers"),
    ],
)
def test_other_types_are_opened_and_handed_to_peft(
    name: str,
    options: dict[str, Any],
    reason: str,
    pico: Model,
    tmp_path: Path,
) -> None:
    cls = getattr(peft, options.pop("cls", "LoraConfig")) if "cls" in options else peft.LoraConfig
    extra = {"feedforward_modules": []} if name == "ia3" else {}
    config = cls(task_type="CAUSAL_LM", target_modules=["v_proj"], **extra, **options)
    peft.get_peft_model(copy.deepcopy(pico), config).save_pretrained(tmp_path)
    with open_adapter(tmp_path) as adapter:
        assert reason in (streamable(adapter.config) or "")
        if adapter.config.peft_type != "LORA":
            assert len(adapter.unknown) == len(adapter.tensors) > 0
