"""From a configuration's engine to one that answers."""

from __future__ import annotations

from loragraft.engine.batch.keys import has_key
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.engine.batch.specs import (
    AnthropicSpec,
    EngineSpec,
    LlamaSpec,
    OllamaSpec,
    OpenAiSpec,
    TransformersSpec,
)
from loragraft.errors import InputError


def missing_key(spec: object) -> str | None:
    """Return the variable whose key an engine needs and does not find; None where all is there.

    Where the engine's ``needed`` is false, its experiment is left out then, and said so.
    """
    if isinstance(spec, OpenAiSpec | AnthropicSpec) and not has_key(spec.key):
        return spec.key
    return None


def open_engine(spec: EngineSpec, *, context_needed: int | None = None) -> BatchEngine:
    """Open an engine.

    Args:
        spec: As the configuration has it; not one of transformers, which needs adapters:
            :mod:`loragraft.experiment` opens those.
        context_needed: Tokens of the longest conversation with its answer, where they are known.

    Raises:
        LoragraftError: If it cannot be opened: no file, no server, no such model, no key.
    """
    if isinstance(spec, LlamaSpec):
        from loragraft.engine.batch.llama import open_llama

        return open_llama(spec, context_needed)
    if isinstance(spec, OllamaSpec):
        from loragraft.engine.batch.ollama import open_ollama

        return open_ollama(spec, context_needed)
    if isinstance(spec, OpenAiSpec):
        from loragraft.engine.batch.openai import OpenAiBatchEngine

        return OpenAiBatchEngine(spec)
    if isinstance(spec, AnthropicSpec):
        from loragraft.engine.batch.anthropic import AnthropicBatchEngine

        return AnthropicBatchEngine(spec)
    if isinstance(spec, TransformersSpec):
        raise InputError(
            "Models of transformers take adapters, and are opened by the experiments: "
            "loragraft experiment run."
        )
    raise AssertionError(spec)
