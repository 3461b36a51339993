"""An adapter on a causal language model, in each way that people put it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.adapter.diagnose.difference import Difference, Vectors, centred, compare
from loragraft.adapter.diagnose.embedder_ways import SwitchedOff, load_by_transformers
from loragraft.adapter.diagnose.facts import WayResult
from loragraft.adapter.diagnose.structure import hierarchy
from loragraft.adapter.peft_loading import (
    adapter_layers,
    attach,
    fit_vocabulary,
    load_causal,
)
from loragraft.adapter.probe_prompts import ProbePrompt
from loragraft.adapter.reader import Adapter
from loragraft.adapter.speaking import Inputs, Speaker, greedy, prompt_logits
from loragraft.errors import AdapterError, UnsupportedError

PURPOSE = "Diagnosing an adapter"
RIGHT = "from_pretrained"
NEW_TOKENS = 8
"""Tokens written by hand and by ``generate``: a bypassed wrapper shows in the first few."""


@dataclass(frozen=True)
class Put:
    """A language model with an adapter on it; see the one of SentenceTransformers."""

    model: Any
    toggle: Callable[[], AbstractContextManager[Any]] | None
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def _from_pretrained(model: Any, folder: Path) -> Put:  # noqa: ANN401
    attached = attach(model, folder, folder)
    return Put(
        attached.model, attached.model.disable_adapter, attached.missing, attached.unexpected
    )


def _load_adapter(model: Any, folder: Path) -> Put:  # noqa: ANN401
    missing, unexpected = load_by_transformers(model, folder)
    return Put(model, lambda: SwitchedOff(model), missing, unexpected)


def _merged(model: Any, folder: Path) -> Put:  # noqa: ANN401
    attached = attach(model, folder, folder)
    return Put(attached.model.merge_and_unload(), None, attached.missing, attached.unexpected)


WAYS: Mapping[str, tuple[str, Callable[[Any, Path], Put]]] = {
    "from_pretrained": ("PeftModel.from_pretrained(model, adapter)", _from_pretrained),
    "load_adapter": ("model.load_adapter(adapter)", _load_adapter),
    "merged": ("PeftModel.from_pretrained(model, adapter).merge_and_unload()", _merged),
}
"""How people do it, and the function that does."""


@dataclass(frozen=True)
class Reference:
    """The base's outputs.

    Attributes:
        inputs: Each prompt as tokens.
        logits: Logits of each prompt, ``[positions, vocabulary]``.
        answers: The first tokens that the base writes.
        modules: Module names by level.
        parameters: Of the whole base.
    """

    inputs: tuple[Inputs, ...]
    logits: tuple[Vectors, ...]
    answers: tuple[tuple[int, ...], ...]
    modules: Mapping[str, frozenset[str]]
    parameters: int


def measure_reference(base: Path, prompts: Sequence[ProbePrompt]) -> Reference:
    """Run prompts through the base alone, and note the names of its modules.

    Tokenizer and template are the base's own: its rows of vocabulary fit them.
    """
    model = load_causal(base, PURPOSE)
    speaker = Speaker(base)
    inputs = tuple(speaker.encode(prompt) for prompt in prompts)
    return Reference(
        inputs,
        tuple(_logits(model, each) for each in inputs),
        tuple(greedy(model, each, NEW_TOKENS)[0] for each in inputs),
        {"language model": frozenset(name for name, _ in model.named_modules())},
        sum(parameter.numel() for parameter in model.parameters()),
    )


def _logits(model: Any, inputs: Inputs) -> Vectors:  # noqa: ANN401
    logits: Vectors = prompt_logits(model, inputs).numpy()
    return logits


def measure_way(
    base: Path, adapter: Adapter, folder: Path, name: str, reference: Reference
) -> WayResult:
    """Load a base and an adapter in one way, and measure what comes of it.

    Args:
        base: The checkpoint; loaded anew, because PEFT changes what it is given.
        adapter: The opened adapter.
        folder: The adapter, with PEFT's own file names.
        name: One of :data:`WAYS`, or ``renamed`` for the right way with changed keys.
        reference: The base's own outputs.
    """
    from peft import PeftModel

    code, put_on = WAYS[RIGHT if name == "renamed" else name]
    model = load_causal(base, PURPOSE)
    try:
        fit_vocabulary(model, adapter)
        put = put_on(model, folder)
    except (AdapterError, UnsupportedError) as error:
        return WayResult(name, code, error=str(error))
    tuned = [_logits(put.model, each) for each in reference.inputs]
    if put.toggle is not None:
        with put.toggle():
            _logits(put.model, reference.inputs[0])
    again = [_logits(put.model, each) for each in reference.inputs]
    layers = adapter_layers(put.model)
    hand = [greedy(put.model, each, NEW_TOKENS)[0] for each in reference.inputs]
    written = [_generate(put.model, each) for each in reference.inputs]
    agree = sum(a == b for a, b in zip(hand, written, strict=True))
    return WayResult(
        name, code,
        difference=_compare(reference.logits, tuned, again),
        by_hand=f"generate() writes what forward passes by hand do on {agree} of {len(hand)} "
        "prompts",
        bypassed=hand != list(reference.answers) and written == list(reference.answers),
        missing=put.missing, unexpected=put.unexpected, layers=len(layers),
        is_peft_model=isinstance(put.model, PeftModel),
        place=hierarchy(put.model, layers),
        trainable=sum(p.numel() for n, p in put.model.named_parameters() if "lora_" in n),
        total=sum(p.numel() for p in put.model.parameters()),
    )  # fmt: skip


def _compare(
    base: Sequence[Vectors], tuned: Sequence[Vectors], again: Sequence[Vectors]
) -> Difference:
    """Compare centred logits of all prompts, over the tokens that both vocabularies have."""
    width = min(base[0].shape[1], tuned[0].shape[1])
    together = (
        centred(np.concatenate([part[:, :width] for part in rows])) for rows in (base, tuned, again)
    )
    return compare(*together)


def _generate(model: Any, inputs: Inputs) -> tuple[int, ...]:  # noqa: ANN401
    """Write by the usual call, greedily and without the penalties a model may have by default."""
    import torch

    with torch.no_grad():
        output = model.generate(
            **inputs, do_sample=False, num_beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0,
            min_new_tokens=0, max_new_tokens=NEW_TOKENS,
        )  # fmt: skip
    return tuple(int(token) for token in output[0, inputs["input_ids"].shape[1] :])
