"""What cannot be merged is refused before a weight is read; what can is what PEFT adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError
from loragraft.export.delta import Changes, MergedTensor, collect_changes
from loragraft.export.prepare import open_adapters
from tests.adapter.builders import PREFIX, Arrays, lora_arrays, write_adapter, write_base

Collect = Callable[..., tuple[Checkpoint, Changes]]
Q0, V0 = (f"{PREFIX}model.layers.0.self_attn.{name}" for name in ("q_proj", "v_proj"))
HEAD = np.full((128, 64), 2.0, np.float32)


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Collect]:
    """Return a function that lays an adapter over a base of zeros."""
    stack = ExitStack()

    def run(
        arrays: Arrays | None = None, scale: float = 1.0, **config: object
    ) -> tuple[Checkpoint, Changes]:
        base = stack.enter_context(Checkpoint(write_base(tmp_path / "base")))
        adapter = write_adapter(tmp_path / "adapter", arrays, **config)
        [opened], _ = open_adapters([(adapter, scale)], base.tensors, stack)
        return base, collect_changes(base, [(opened.adapter, opened.scale, opened.tensors)])

    with stack:
        yield run


def merged(base: Checkpoint, changes: Changes, name: str) -> NDArray[np.float32]:
    return MergedTensor(name, base, changes.by_tensor[name], "fp32").rows(0, 2)


@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_a_lora_is_added_by_its_scale(collect: Collect, scale: float) -> None:
    base, changes = collect(scale=scale)
    arrays = lora_arrays()
    expected = 2.0 * scale * (arrays[f"{Q0}.lora_B.weight"] @ arrays[f"{Q0}.lora_A.weight"])[:2]
    found = merged(base, changes, "model.layers.0.self_attn.q_proj.weight")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_another_width_is_refused(collect: Collect) -> None:
    with pytest.raises(AdapterError, match=r"of shape \[32, 32\], but .* has \[64, 64\].*another"):
        collect(lora_arrays(width=0.5))


def test_a_bias_of_b_needs_a_bias_in_the_base(collect: Collect) -> None:
    bias = {f"{Q0}.lora_B.bias": np.ones(64, np.float32)}
    base, changes = collect({**lora_arrays(), **bias}, lora_bias=True)
    assert merged(base, changes, "model.layers.0.self_attn.q_proj.bias").tolist() == [2.0, 2.0]
    bias = {f"{V0}.lora_B.bias": np.ones(32, np.float32)}  # v_proj has none in this base
    with pytest.raises(AdapterError, match=r"v_proj \(lora_bias\), but .* has no bias there"):
        collect({**lora_arrays(), **bias}, lora_bias=True)


@pytest.mark.parametrize(
    ("extra", "config"),
    [
        ({f"{PREFIX}lm_head.weight": HEAD}, {"modules_to_save": ["lm_head"]}),
        ({f"{Q0}.base_layer.bias": np.ones(64, np.float32)}, {"bias": "lora_only"}),
        (
            {
                f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta": np.ones(
                    (2, 64), np.float32
                )
            },
            {"trainable_token_indices": [1, 2]},
        ),
    ],
    ids=["saved", "bias", "tokens"],
)
def test_whole_tensors_cannot_be_scaled(
    collect: Collect, extra: Arrays, config: dict[str, object]
) -> None:
    arrays = {**lora_arrays(), **extra}
    _, changes = collect(arrays, **config)
    assert len(changes.by_tensor) == 5
    with pytest.raises(AdapterError, match=r"cannot be scaled by 0\.5\. Leave its --scale at 1"):
        collect(arrays, 0.5, **config)
