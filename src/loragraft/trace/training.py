"""The stages that are Hugging Face folders: base, base with adapter, merged checkpoint.

With torch they run; without it they still render and tokenize, which is where most chains part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from loragraft.adapter.locate import locate_adapter
from loragraft.checkpoint.files import read_small
from loragraft.checkpoint.template import render, resolve_chat_template
from loragraft.engine.protocol import Message, Sampling
from loragraft.engine.transformers import TransformersEngine
from loragraft.errors import CheckpointError, TemplateError
from loragraft.export.carried import tokenizer_owner
from loragraft.trace.observation import ANSWER_TOKENS, KEPT_POSITIONS, Answer, Observation
from loragraft.trace.probes import Probe

PACKAGES = ("torch", "transformers", "peft")
PURPOSE = "Running a checkpoint in the trace"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


class Voice(Protocol):
    """What renders conversations and tokenizes them."""

    @property
    def template(self) -> str | None:
        """The chat template in force."""

    def render(self, messages: Sequence[Message], *, think: bool | None = None) -> str:
        """Return a conversation as text, the answer's turn opened."""

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Return a text's tokens."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads meanwhile; does nothing where it is missing."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class PlainVoice:
    """Templates and tokenizers without transformers: no weight is read.

    Attributes:
        owner: Folder of the tokenizer.
        template: The chat template in force.
    """

    owner: Path
    template: str | None

    def render(self, messages: Sequence[Message], *, think: bool | None = None) -> str:
        """Render as transformers does.

        Raises:
            TemplateError: If there is no template, or it refuses these messages.
        """
        if self.template is None:
            raise TemplateError(f"{self.owner} has no chat template.")
        return render(
            self.template, messages, add_generation_prompt=True, **special_texts(self.owner)
        )

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokenize with the tokenizers library.

        Raises:
            CheckpointError: If the folder has no tokenizer.json that it loads.
        """
        from tokenizers import Tokenizer

        path = self.owner / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_str(read_small(path).decode("utf-8"))
        except Exception as error:  # tokenizers raises bare Exception for whatever Rust reports
            raise CheckpointError(
                f"{path} cannot be read without transformers ({error}). Install "
                '"loragraft[peft]" to have it read there.'
            ) from error
        ids: list[int] = tokenizer.encode(text, add_special_tokens=special).ids
        return ids


def special_texts(folder: Path) -> dict[str, str]:
    """Return a tokenizer's special tokens as its configuration files name them."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        try:
            known = json.loads(read_small(folder / name))
        except (OSError, ValueError):
            continue
        for key in _SPECIAL:
            value = known.get(key) if isinstance(known, dict) else None
            text = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(text, str):
                found[key] = text
    return found


def folders_of(base: Path, adapter: Path | None) -> tuple[Path, Path | None]:
    """Return the folder of the tokenizer that counts, and the adapter's own folder."""
    folder = None if adapter is None else locate_adapter(adapter).folder
    return tokenizer_owner([folder] if folder is not None else [], base), folder


def plain_voice(base: Path, adapter: Path | None) -> PlainVoice:
    """Return what speaks for a stage without torch."""
    owner, folder = folders_of(base, adapter)
    return PlainVoice(owner, resolve_chat_template([f for f in (folder, base) if f]).default)


def open_engines(
    base: Path, adapter: Path | None, *, scale: float = 1.0
) -> tuple[TransformersEngine, TransformersEngine | None]:
    """Load a checkpoint in float32 on the CPU, with an adapter on it where one is given.

    Returns:
        The base, and the base with the adapter. Both hold the same model: the base answers
        as itself only inside :meth:`TransformersEngine.without_adapter`.

    Raises:
        MissingExtraError: If torch, transformers or peft is not installed.
        OutOfMemoryError: If it does not fit.
        CheckpointError: If it cannot be loaded.
        AdapterError: If a key of the adapter does not land.
    """
    from loragraft.adapter.peft_loading import load_causal, quiet, require_packages

    require_packages(PURPOSE, *PACKAGES)
    with quiet():
        model = load_causal(base, PURPOSE)
        if adapter is None:
            return _engine(model, base, None, base.name), None
        model = _attach(model, adapter, scale)
        tuned = f"{base.name} + {locate_adapter(adapter).folder.name}"
        return _engine(model, base, None, base.name), _engine(model, base, adapter, tuned)


def _engine(model: Any, base: Path, adapter: Path | None, name: str) -> TransformersEngine:  # noqa: ANN401
    from transformers import AutoTokenizer

    voice = plain_voice(base, adapter)
    loader: Any = AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(str(voice.owner), local_files_only=True)
    except Exception as error:  # whatever a broken or unknown file leads to there
        raise CheckpointError(
            f"transformers cannot load the tokenizer of {voice.owner}: {error}."
        ) from error
    return TransformersEngine(model, tokenizer, template=voice.template, name=name)


def _attach(model: Any, adapter: Path, scale: float) -> Any:  # noqa: ANN401
    from loragraft.adapter.peft_loading import adapter_layers, put_on

    wrapped = put_on(model, adapter)
    for _, layer in adapter_layers(wrapped):
        scaling = getattr(layer, "scaling", None)
        if isinstance(scaling, dict) and "default" in scaling:
            scaling["default"] *= scale
    return wrapped


def speak(voice: Voice, probes: Sequence[Probe]) -> Observation:
    """Render and tokenize the probes; what a template refuses stays None.

    Where there is no template at all, the turns' plain text stands for them.
    """
    texts: list[str | None] = []
    ids: list[tuple[int, ...] | None] = []
    for probe in probes:
        try:
            text = voice.render(probe.messages) if voice.template is not None else probe.plain
            texts.append(text)
            ids.append(tuple(voice.tokenize(text)))
        except TemplateError:
            texts.append(None)
            ids.append(None)
    return Observation(tuple(texts), tuple(ids))


def run_engine(
    engine: TransformersEngine,
    probes: Sequence[Probe],
    *,
    taught: Sequence[Sequence[int]] | None = None,
    tokens: int = ANSWER_TOKENS,
    kept: int = KEPT_POSITIONS,
) -> Observation:
    """Render, tokenize, run and answer the probes.

    Args:
        engine: A loaded checkpoint.
        probes: What to ask.
        taught: Token sequences to run; the engine's own where None.
        tokens: Most tokens of an answer.
        kept: Of how many last positions of a probe chances are kept.
    """
    seen = speak(engine, probes)
    sequences = taught if taught is not None else [ids for ids in seen.ids if ids]
    return replace(
        seen,
        ends=engine.ends,
        log_probs=tuple(engine.log_probs(ids, kept) for ids in sequences),
        answers=tuple(
            _answer(engine, probe.name, ids, tokens)
            for probe, ids in zip(probes, seen.ids, strict=True)
            if probe.answered and ids
        ),
    )


def _answer(engine: TransformersEngine, name: str, ids: Sequence[int], room: int) -> Answer:
    said: list[int] = []
    for token in engine.tokens(ids, Sampling(temperature=0)):
        said.append(token)
        if token in engine.ends or len(said) >= room:
            break
    finish = "stop" if said and said[-1] in engine.ends else "length"
    return Answer(name, str(engine.tokenizer.decode(said)), tuple(said), finish)
