"""Adapted embeddings and heads: the matrix that PEFT saves under them, resized or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.findings import Severity
from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError
from loragraft.export.delta import HEAD_NAME, Changes, MergedTensor, collect_changes
from loragraft.export.embeddings import decide_tying
from loragraft.export.prepare import open_adapters
from tests.adapter.builders import PREFIX, Arrays, lora_arrays, write_adapter, write_base

EMBEDDING = "model.embed_tokens.weight"
ROWS, WIDTH = 128, 64
Collect = Callable[..., tuple[Checkpoint, Changes]]
Matrix = NDArray[np.float32]


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Collect]:
    """Return a function that lays adapters (their tensors and options) over a base of zeros."""
    stack = ExitStack()

    def run(*adapters: tuple[Arrays, dict[str, Any]], scale: float = 1.0) -> tuple[Any, Any]:
        base = stack.enter_context(Checkpoint(write_base(tmp_path / "base")))
        folders = [
            (write_adapter(tmp_path / str(number), arrays, **config), scale)
            for number, (arrays, config) in enumerate(adapters)
        ]
        opened, _ = open_adapters(folders, base.tensors, stack)
        return base, collect_changes(base, [(o.adapter, o.scale, o.tensors) for o in opened])

    with stack:
        yield run


def head_pair(seed: int, rows: int = ROWS, under: Matrix | None = None) -> tuple[Arrays, Matrix]:
    """Return a LoRA on lm_head as PEFT saves it, and what it adds."""
    random = np.random.default_rng(seed)
    a, b = (random.normal(size=shape).astype(np.float32) for shape in ((4, WIDTH), (rows, 4)))
    under = np.zeros((rows, WIDTH), np.float32) if under is None else under
    arrays = {
        f"{PREFIX}lm_head.lora_A.weight": a,
        f"{PREFIX}lm_head.lora_B.weight": b,
        f"{PREFIX}lm_head.base_layer.weight": under,
    }
    return arrays, 2.0 * (b @ a)


def saved(values: Matrix, name: str = "lm_head") -> tuple[Arrays, dict[str, Any]]:
    arrays = {**lora_arrays(), f"{PREFIX}{name}.weight": values}
    return arrays, {"modules_to_save": [name.rpartition(".")[2]]}


def merged(base: Checkpoint, changes: Changes, name: str = HEAD_NAME) -> Matrix:
    tensor = MergedTensor(name, base, changes.by_tensor[name], "fp32")
    return tensor.rows(0, tensor.shape[0])


def test_two_adapters_of_the_head_add_up(collect: Collect) -> None:
    (first, added), (second, more) = head_pair(1), head_pair(2)
    base, changes = collect((first, {}), (second, {}))
    np.testing.assert_allclose(merged(base, changes), added + more, rtol=1e-5, atol=1e-5)


def test_a_copy_in_another_format_is_the_same_matrix(collect: Collect) -> None:
    rounded = np.full((ROWS, WIDTH), 1.001, np.float32)
    (first, added), (second, more) = (
        head_pair(1, under=rounded),
        head_pair(2, under=rounded * 1.002),
    )
    base, changes = collect((first, {}), (second, {}))
    np.testing.assert_allclose(merged(base, changes), rounded + added + more, rtol=1e-4, atol=1e-4)


def test_two_adapters_over_different_matrices_are_refused(collect: Collect) -> None:
    other = np.zeros((ROWS, WIDTH), np.float32)
    other[7, 3] = 0.5
    with pytest.raises(AdapterError, match=r"lm_head\.weight whole, which would erase.*before it"):
        collect((head_pair(1)[0], {}), (head_pair(2, under=other)[0], {}))


def test_a_saved_head_never_erases_an_adapted_one(collect: Collect) -> None:
    values = np.full((ROWS, WIDTH), 3.0, np.float32)
    plain = {key: value for key, value in head_pair(1)[0].items() if "base_layer" not in key}
    with pytest.raises(AdapterError, match="would erase what an adapter before"):
        collect((head_pair(1)[0], {}), saved(values))
    base, changes = collect(saved(values), (plain, {}))  # the other order keeps both
    np.testing.assert_allclose(
        merged(base, changes), values + head_pair(1)[1], rtol=1e-5, atol=1e-5
    )


def test_a_second_saved_head_must_be_the_first(collect: Collect) -> None:
    values = np.full((ROWS, WIDTH), 3.0, np.float32)
    base, changes = collect(saved(values), saved(values))
    np.testing.assert_array_equal(merged(base, changes), values)
    with pytest.raises(AdapterError, match="would erase"):
        collect(saved(values), saved(values + 1))


def test_an_adapted_head_can_be_scaled(collect: Collect) -> None:
    arrays, added = head_pair(1)
    base, changes = collect((arrays, {}), scale=0.5)
    np.testing.assert_allclose(merged(base, changes), added / 2, rtol=1e-5, atol=1e-5)


def test_a_resized_head_lies_under_its_pair(collect: Collect) -> None:
    under = np.full((ROWS + 8, WIDTH), 2.0, np.float32)
    arrays, added = head_pair(1, ROWS + 8, under)
    base, changes = collect((arrays, {}))
    np.testing.assert_allclose(merged(base, changes), under + added, rtol=1e-5, atol=1e-5)


def test_a_pair_for_the_old_size_does_not_fit_a_resized_matrix(collect: Collect) -> None:
    under = np.zeros((ROWS + 8, WIDTH), np.float32)
    grown, _ = head_pair(2, ROWS + 8)
    collect(saved(under), ({k: v for k, v in grown.items() if "base_layer" not in k}, {}))
    old = {key: value for key, value in head_pair(2)[0].items() if "base_layer" not in key}
    with pytest.raises(AdapterError, match=r"\[128, 64\], but .* has \[136, 64\] after an adapter"):
        collect(saved(under), (old, {}))


def test_only_a_vocabulary_may_have_other_rows(collect: Collect, tmp_path: Path) -> None:
    collect(saved(np.ones((ROWS + 8, WIDTH), np.float32)))
    name = "model.layers.0.self_attn.q_proj"
    arrays = {f"{PREFIX}{name}.weight": np.ones((99, WIDTH), np.float32)}
    config = {"modules_to_save": ["q_proj"]}
    with pytest.raises(AdapterError, match=r"the saved .*q_proj\.weight is made for .*\[99, 64\]"):
        collect((arrays, config))
    assert severity(tmp_path, arrays, config, "shapes") is Severity.FAIL
    arrays[f"{PREFIX}{name}.weight"] = np.ones((WIDTH, WIDTH), np.float32)
    assert severity(tmp_path, arrays, config, "shapes") is Severity.PASS


def severity(tmp_path: Path, arrays: Arrays, config: dict[str, Any], code: str) -> Severity | None:
    folder = write_adapter(tmp_path / "checked", arrays, **config)
    with open_adapter(folder) as adapter, Checkpoint(write_base(tmp_path / "base")) as base:
        findings = run_checks(CheckContext(adapter, base))
    return next((finding.severity for finding in findings if finding.code == code), None)


def test_the_shapes_of_a_resized_head_are_judged_by_its_copy(tmp_path: Path) -> None:
    arrays, _ = head_pair(1, ROWS + 8)
    assert severity(tmp_path, arrays, {"target_modules": ["lm_head"]}, "shapes") is Severity.PASS
    del arrays[f"{PREFIX}lm_head.base_layer.weight"]
    assert severity(tmp_path, arrays, {"target_modules": ["lm_head"]}, "shapes") is Severity.FAIL


def test_rows_of_tokens_that_the_base_lacks_are_refused(collect: Collect) -> None:
    key = f"{PREFIX}model.embed_tokens.token_adapter"
    arrays = {**lora_arrays(), f"{key}.trainable_tokens_delta": np.ones((1, WIDTH), np.float32)}
    collect((arrays, {"trainable_token_indices": [127]}))
    with pytest.raises(AdapterError, match=r"rows up to token 128, 64 wide, but .* has 128 rows"):
        collect((arrays, {"trainable_token_indices": [128]}))
    arrays[f"{key}.base_layer.weight"] = np.zeros((ROWS + 1, WIDTH), np.float32)
    base, changes = collect((arrays, {"trainable_token_indices": [128]}))
    assert merged(base, changes, EMBEDDING)[128].tolist() == [1.0] * WIDTH


OPTIONS: dict[str, dict[str, Any]] = {
    "adapted": {"target_modules": ["embed_tokens", "lm_head"]},
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [1, 42]}},
}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("size", [43, 48], ids=["same", "resized"])
def test_what_peft_saves_becomes_what_peft_merges(
    size: int, name: str, tied: bool, tmp_path: Path
) -> None:
    """Embedding and head of PEFT's own merge, after its own saving and loading."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=43, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip

    def base_model() -> Any:  # noqa: ANN401
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        if size != 43:
            torch.manual_seed(4)
            model.resize_token_embeddings(size)
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
        options = {"task_type": "CAUSAL_LM", "r": 2, "init_lora_weights": False, **OPTIONS[name]}
        trained = get_peft_model(base_model(), LoraConfig(**options))
        with torch.no_grad():
            for key, parameter in trained.named_parameters():
                if "trainable_tokens_delta" in key:
                    parameter.add_(1.0)
        trained.save_pretrained(tmp_path / "adapter")
        loaded = PeftModel.from_pretrained(base_model(), tmp_path / "adapter")
        theirs = loaded.merge_and_unload().state_dict()
    with ExitStack() as stack:
        base = stack.enter_context(Checkpoint(tmp_path / "base"))
        aliases = {HEAD_NAME: EMBEDDING} if tied else {}
        names = [*base.tensors, *aliases]
        [opened], _ = open_adapters([(tmp_path / "adapter", 1.0)], names, stack)
        assert not [f for f in opened.adapter.findings if f.severity is Severity.FAIL]
        parts = [(opened.adapter, 1.0, opened.tensors)]
        changes = collect_changes(base, parts, aliases)
        if tied:
            separate = decide_tying(base, EMBEDDING, changes, [opened.adapter]).untie
            assert separate == (name == "adapted")
        for tensor in (EMBEDDING, HEAD_NAME):
            if tensor in changes.by_tensor and not (tied and name == "adapted"):
                read = aliases.get(tensor, tensor)
                change = MergedTensor(read, base, changes.by_tensor[tensor], "fp32")
                ours = change.rows(0, change.shape[0])
                np.testing.assert_allclose(ours, theirs[tensor].numpy(), rtol=1e-5, atol=1e-6)


def test_the_engine_peft_erases_nothing_either(tmp_path: Path) -> None:
    """PEFT itself would load the second adapter's copy over the first one's merged head."""
    from loragraft.export.peft_engine import refuse_erasing

    plain = write_adapter(tmp_path / "plain")
    first = write_adapter(tmp_path / "first", head_pair(1)[0])
    second = write_adapter(tmp_path / "second", head_pair(2)[0])
    arrays, config = saved(np.ones((ROWS, WIDTH), np.float32))
    whole = write_adapter(tmp_path / "whole", arrays, **config)
    refuse_erasing([plain, first])
    refuse_erasing([plain, plain, whole])
    for pair in ([first, second], [first, whole], [whole, second]):
        with pytest.raises(AdapterError, match=r"brings 'lm_head\.weight' whole, which would era"):
            refuse_erasing(pair)
