"""Whether a model's rows keep to themselves: what can be known beforehand, and what is measured.

An answer must not depend on who else is in the batch. Where it would, conversations are answered
one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loragraft.engine.transformers import TransformersEngine

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LAYERS = frozenset({"full_attention", "sliding_attention"})
_STRETCHED = frozenset({"dynamic", "longrope"})
"""Rotary embeddings that transformers computes from the longest conversation of a batch."""
CLOSE, CLOSE_HALF = 1e-2, 0.5
"""Differences of log-probabilities, in float32 and in half precision, that rounding explains: a
mask or a position that is wrong gives several whole units."""
LIKELY = 20
"""Tokens compared; those that are never chosen may differ more."""
_CAPACITY = 64
_PROBE = "Which of the two rivers is longer, and by how many kilometres?"
_OTHERS = (
    "No, it is not.",
    "An entirely different text, somewhat longer than the first: 1, 2, 3, 4, 5, 6.",
)


def why_alone(engine: TransformersEngine, width: int) -> str | None:
    """Return why conversations cannot share a batch of a model; None where they can.

    Raises:
        MemoryError: As torch raises it.
    """
    known = next(_known(engine), None)
    return known or _measured(engine, width)


def _known(engine: TransformersEngine) -> Iterator[str]:
    config = engine.model.config.get_text_config()
    if any(getattr(config, name, None) for name in _EXPERTS):
        yield "it sends tokens to experts, whose shapes depend on all conversations of a batch"
    strange = set(getattr(config, "layer_types", None) or ()) - _LAYERS
    if strange:
        yield f"it has layers of the kind {', '.join(sorted(strange))}, which cannot be masked"
    if _STRETCHED.intersection(_ropes(config)):
        yield "its rotary embedding changes with the longest conversation of a batch"
    if "position_ids" not in engine.parameters:
        yield "it takes no position_ids"


def _ropes(config: Any) -> Iterator[str]:  # noqa: ANN401
    for name in ("rope_parameters", "rope_scaling"):
        given = getattr(config, name, None)
        for one in (given, *given.values()) if isinstance(given, Mapping) else ():
            if isinstance(one, Mapping):
                yield str(one.get("rope_type", one.get("type", "")))


def _measured(engine: TransformersEngine, width: int) -> str | None:
    """Compare the same prompt alone, in the first row and in the last, with other company."""
    import numpy as np
    import torch

    ids = engine.tokenize(_PROBE)[:_CAPACITY]
    try:
        first, last = _in_rows(engine, ids, width)
        alone = engine.next_log_probs(ids)
    except (torch.OutOfMemoryError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # a model's own code, asked for what it was not made for
        return f"its code takes no fixed batch ({type(error).__name__}: {error})"
    if not np.array_equal(first, last, equal_nan=True):
        worst = float(np.abs(first - last).max())
        return f"the same prompt gets other numbers in another row (logits differ by {worst:.2g})"
    shifted = first.astype(np.float64) - first.max()
    together = shifted - np.log(np.exp(shifted).sum())
    likely = np.argsort(alone)[-LIKELY:]
    off = float(np.abs(together[likely] - alone[likely]).max())
    if not off <= (CLOSE if engine.model.dtype == torch.float32 else CLOSE_HALF):
        return f"in a batch it is another model (log-probabilities differ by {off:.2g})"
    return None


def _in_rows(engine: TransformersEngine, ids: list[int], width: int) -> tuple[Any, Any]:
    """Return the logits after ids from the first and from the last row."""
    from loragraft.engine.batch.transformers_slots import Slots, read_prompt

    prompt = read_prompt(engine, ids[:-1])
    found = []
    for row, text in ((0, _OTHERS[0]), (width - 1, _OTHERS[1])):
        other = engine.tokenize(text)[: _CAPACITY - 1]
        company = read_prompt(engine, other[:-1])
        slots = Slots(engine, prompt, width=width, capacity=_CAPACITY)
        tokens = [other[-1]] * width
        for place in range(width):
            slots.put(place, prompt if place == row else company)
        tokens[row] = ids[-1]
        found.append(slots.step(tokens)[row])
    return found[0], found[1]
