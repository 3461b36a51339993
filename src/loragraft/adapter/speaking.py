"""One prompt at a time through a causal language model: tokens, logits, a greedy answer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.adapter.probe_prompts import ProbePrompt
from loragraft.checkpoint.template import render, resolve_chat_template
from loragraft.errors import CheckpointError

if TYPE_CHECKING:
    import torch

KEPT_LOGITS = 64
"""Positions compared at the end of a prompt: enough to see an effect, in bounded memory."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json")

Inputs = Mapping[str, "torch.Tensor"]


class Speaker:
    """Turns prompts into tokens and tokens into text, the adapter's template first."""

    def __init__(self, base: Path, adapter: Path | None = None) -> None:
        """Load the tokenizer of the adapter where it ships one, else the base's.

        Args:
            base: The base's folder.
            adapter: The adapter's folder; None to take nothing from it.

        Raises:
            CheckpointError: If it cannot be loaded.
            TemplateError: If a chat template cannot be read.
        """
        from transformers import AutoTokenizer

        folders = [base] if adapter is None else [adapter, base]
        owner = next(
            (f for f in folders if any((f / name).is_file() for name in TOKENIZER_FILES)), base
        )
        loader: Any = AutoTokenizer
        try:
            self.tokenizer: Any = loader.from_pretrained(str(owner), local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            raise CheckpointError(
                f"transformers cannot load the tokenizer of {owner}: {error}. Fetch it again."
            ) from error
        self.template = resolve_chat_template(folders).default

    def encode(self, prompt: ProbePrompt) -> Inputs:
        """Return a prompt's ids and mask, shape ``[1, tokens]``, the answer's turn opened.

        Raises:
            TemplateError: If the template refuses these messages.
        """
        if self.template is None:
            return _known(self.tokenizer(prompt.text, return_tensors="pt"))
        text = render(
            self.template, prompt.messages, add_generation_prompt=True,
            **self.tokenizer.special_tokens_map,
        )  # fmt: skip
        return _known(self.tokenizer(text, add_special_tokens=False, return_tensors="pt"))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return tokens as text, without special ones."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))


def prompt_logits(model: Any, inputs: Inputs) -> torch.Tensor:  # noqa: ANN401
    """Return the logits at the end of a prompt, shape ``[positions, vocabulary]``, float32."""
    import torch

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    limited = "logits_to_keep" in inspect.signature(inner.forward).parameters
    with torch.no_grad():
        result = model(**inputs, **({"logits_to_keep": KEPT_LOGITS} if limited else {}))
    logits: torch.Tensor = result.logits[0, -KEPT_LOGITS:].float()
    return logits


def _known(encoded: Mapping[str, Any]) -> Inputs:
    """Keep what every causal model takes; some tokenizers add token types."""
    return {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}


def end_tokens(model: Any) -> frozenset[int]:  # noqa: ANN401
    """Return the ids at which a model ends its answer, as its generation configuration has them."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in listed if end is not None)


def greedy(model: Any, inputs: Inputs, room: int) -> tuple[tuple[int, ...], bool]:  # noqa: ANN401
    """Continue a prompt greedily by forward passes.

    No setting of the model takes part: a repetition penalty would hide a loop.

    Returns:
        The new tokens, at most ``room``, and whether the model ended by itself.
    """
    import torch

    ends = end_tokens(model)
    tokens: list[int] = []
    ids, mask, cache = inputs["input_ids"], torch.ones_like(inputs["input_ids"]), None
    with torch.no_grad():
        while len(tokens) < room:
            result = model(
                input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True
            )
            token, cache = int(result.logits[0, -1].argmax()), result.past_key_values
            tokens.append(token)
            if token in ends:
                return tuple(tokens), True
            ids = ids.new_tensor([[token]])
            mask = torch.cat([mask, mask.new_ones((1, 1))], dim=1)
    return tuple(tokens), False
