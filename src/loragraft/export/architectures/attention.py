"""What llama.cpp has built in about attention, where config.json may ask for something else.

Gemma's files carry neither the scale of the attention scores nor which layers look through a
window: llama.cpp takes both from the architecture (``src/models/gemma2.cpp``, ``gemma3.cpp``).
"""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.errors import UnsupportedError
from loragraft.export.architectures.rope import LAYER_TYPES
from loragraft.export.architectures.settings import Settings, real

SCALAR = "query_pre_attn_scalar"
FULL, SLIDING = LAYER_TYPES


def require_scale(settings: Settings, largest: int) -> None:
    """Refuse another scale of the attention scores than llama.cpp's.

    Args:
        settings: The model's.
        largest: Layers of the family's largest model, whose scale is the embedding's width over
            the heads; all others take the length of a head.

    Raises:
        UnsupportedError: If the file would compute otherwise than the model.
    """
    built_in = settings.head_length
    if settings.layers == largest:
        built_in = settings.embedding // settings.heads
    found = real(settings.values, SCALAR)
    if found != built_in:
        raise UnsupportedError(
            f"config.json scales attention by 1/sqrt({found:g}) ({SCALAR!r}), but llama.cpp has "
            f"1/sqrt({built_in}) built in for such a model, so its answers would differ. Download "
            "config.json again, for early files held wrong values; else serve it with transformers."
        )


def every_nth_full(layers: int, period: int) -> list[str]:
    """List layer types where one in ``period`` attends to everything, the last of each group."""
    return [SLIDING if (number + 1) % period else FULL for number in range(layers)]


def require_windows(found: Sequence[object], built_in: Sequence[str]) -> None:
    """Refuse other layers with a window than llama.cpp's.

    Raises:
        UnsupportedError: If a layer would see more or less than in the model.
    """
    if list(found) == list(built_in):
        return
    pairs = zip(found, built_in, strict=False)
    number = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(found), len(built_in)))
    wanted = built_in[number] if number < len(built_in) else "no such layer"
    named = repr(found[number])[:40] if number < len(found) else "nothing"
    raise UnsupportedError(
        f"config.json says {named} of layer {number}, but llama.cpp has {wanted} built in for such "
        "a model, so its answers would differ. Serve it with transformers instead."
    )
