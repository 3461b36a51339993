"""Module names against a base's tensor names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter.match import NAME_STYLES, match_modules
from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError
from tests.adapter.builders import PREFIX, lora_arrays

Make = Callable[..., Path]
SAVED = np.ones((128, 64), np.float32)


def test_equal_names_need_no_rewrite(make_adapter: Make, make_base: Make) -> None:
    with open_adapter(make_adapter()) as adapter, Checkpoint(make_base()) as base:
        match = match_modules(adapter, base.tensors)
    assert match.rewrite is None
    assert match.missing == ()
    name = "model.layers.0.self_attn.q_proj"
    assert match.tensors[name] == f"{name}.weight"
    assert match.name(name) == name


@pytest.mark.parametrize("source", [style.backbone for style in NAME_STYLES])
@pytest.mark.parametrize("target", [style.backbone for style in NAME_STYLES])
def test_styles_are_rewritten_into_each_other(
    source: str, target: str, make_adapter: Make, make_base: Make
) -> None:
    arrays = lora_arrays(backbone=source)
    arrays[f"{PREFIX}{source}embed_tokens.weight"] = SAVED
    with (
        open_adapter(make_adapter(arrays)) as adapter,
        Checkpoint(make_base(backbone=target)) as base,
    ):
        match = match_modules(adapter, base.tensors)
    assert (match.missing, match.missing_others) == ((), ())
    assert (match.rewrite is None) == (source == target)
    name = f"{source}layers.1.self_attn.v_proj"
    assert match.tensors[name] == f"{target}layers.1.self_attn.v_proj.weight"
    assert match.others == {f"{source}embed_tokens.weight": f"{target}embed_tokens.weight"}


def test_a_shared_head_does_not_hide_a_rewrite(make_adapter: Make, make_base: Make) -> None:
    arrays = {**lora_arrays(), f"{PREFIX}lm_head.weight": SAVED}
    with (
        open_adapter(make_adapter(arrays, modules_to_save=["lm_head"])) as adapter,
        Checkpoint(make_base(backbone="model.language_model.")) as base,
    ):
        match = match_modules(adapter, base.tensors)
    assert match.missing == ()
    assert match.others == {"lm_head.weight": "lm_head.weight"}
    assert str(match.rewrite) == "'model.' → 'model.language_model.'"


def test_what_the_base_lacks_is_missing(make_adapter: Make, make_base: Make) -> None:
    arrays = {**lora_arrays(layers=3), f"{PREFIX}lm_head.weight": SAVED}
    with open_adapter(make_adapter(arrays)) as adapter, Checkpoint(make_base(tied=True)) as base:
        match = match_modules(adapter, base.tensors)
    assert len(match.missing) == 2
    assert all(".layers.2." in name for name in match.missing)
    assert match.missing_others == ("lm_head.weight",)


def test_two_ways_are_refused(make_adapter: Make) -> None:
    both = [
        f"{backbone}layers.{layer}.self_attn.{leaf}.weight"
        for backbone in ("model.language_model.", "language_model.model.")
        for layer in (0, 1) for leaf in ("q_proj", "v_proj")
    ]  # fmt: skip
    with (
        open_adapter(make_adapter()) as adapter,
        pytest.raises(AdapterError, match="in two ways"),
    ):
        match_modules(adapter, both)


def test_nothing_in_common_is_all_missing(make_adapter: Make) -> None:
    with open_adapter(make_adapter()) as adapter:
        match = match_modules(adapter, ["transformer.h.0.attn.c_attn.weight"])
    assert len(match.missing) == 4
    assert match.rewrite is None
