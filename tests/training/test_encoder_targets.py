"""Named sets of modules in the words of encoders."""

from __future__ import annotations

import pytest

from loragraft.errors import InputError
from loragraft.training.config import LoraSettings
from loragraft.training.encoder_targets import choose_encoder_targets

LAYERS = {
    "bert": ("encoder.layer", (
        "attention.self.query", "attention.self.key", "attention.self.value",
        "attention.output.dense", "intermediate.dense", "output.dense",
    )),
    "deberta": ("encoder.layer", (
        "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj",
        "attention.output.dense", "intermediate.dense", "output.dense",
    )),
    "modernbert": ("layers", ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo")),
    "distilbert": ("transformer.layer", (
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1",
        "ffn.lin2",
    )),
    "mpnet": ("encoder.layer", (
        "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
        "intermediate.dense", "output.dense",
    )),
    "llama": ("layers", (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    )),
}  # fmt: skip


def modules(kind: str, layers: int = 12) -> list[str]:
    prefix, names = LAYERS[kind]
    return [f"{prefix}.{layer}.{name}" for layer in range(layers) for name in names]


def adapted(kind: str, targets: str) -> set[str]:
    """Return which kinds of modules PEFT would adapt, by its rule of endings."""
    settings = LoraSettings.model_validate({"targets": targets})
    chosen = choose_encoder_targets(settings, modules(kind), kind)
    found = [m for m in modules(kind) for name in chosen if m == name or m.endswith(f".{name}")]
    prefix = LAYERS[kind][0]
    assert len(found) == len(set(found))
    return {name.removeprefix(f"{prefix}.").partition(".")[2] for name in found}


@pytest.mark.parametrize("kind", LAYERS)
def test_all_are_all(kind: str) -> None:
    assert adapted(kind, "all") == set(LAYERS[kind][1])


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [("bert", 4, 6), ("deberta", 4, 6), ("modernbert", 2, 4), ("distilbert", 4, 6),
     ("mpnet", 4, 6), ("llama", 4, 7)],
)  # fmt: skip
def test_attention_is_attention_and_science_adds_the_last(kind: str, first: int, last: int) -> None:
    names = LAYERS[kind][1]
    assert adapted(kind, "attention") == set(names[:first])
    assert adapted(kind, "science") == {*names[:first], names[last - 1]}


def test_names_are_taken_as_they_are() -> None:
    settings = LoraSettings(targets=("query", "layer.3.output.dense"))
    assert choose_encoder_targets(settings, modules("bert"), "b") == settings.targets


@pytest.mark.parametrize("targets", ["science", ("q_proj",)])
def test_what_an_encoder_lacks_is_told_with_what_it_has(targets: str | tuple[str, ...]) -> None:
    settings = LoraSettings.model_validate({"targets": targets})
    with pytest.raises(InputError, match=r"q_proj.*mixer\b.*lora\.targets"):
        choose_encoder_targets(settings, ["layers.0.mixer", "layers.1.mixer"], "odd")
