"""The interface of a model family: which tensors, which metadata, which sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.checkpoint.safetensors import TensorInfo
from loragraft.errors import CheckpointError, UnsupportedError
from loragraft.export.architectures.rope import Item, Rope, read_rope, rope_items
from loragraft.export.architectures.rules import (
    BUFFERS,
    EMBEDDING,
    ENDS,
    HEAD,
    OUTPUT,
    Rule,
    canonical_name,
    file_order,
)
from loragraft.export.architectures.settings import Settings, read_settings
from loragraft.export.mix.specs import ModelShape

NAMES_SHOWN = 5  # enough to see a pattern, few enough to read
Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TensorSource:
    """One tensor of the GGUF file and where its values come from.

    Attributes:
        gguf_name: Its name in the file.
        source: The checkpoint's tensor, under the name it has there; None if it is generated.
        shape: As exported, rows first. Its first rows are taken where the checkpoint has more;
            where it has fewer, an adapter brings the rest.
        heads: Rows are put into llama.cpp's order by this many heads (`permute_rows`).
        offset: Added to every value, in float32 (llama.cpp's converter adds in float16 where
            the checkpoint's tensor is float16).
        values: Of a generated tensor, float32.
        module: Module path without a vision-language wrapper (`canonical_name`), for instance
            "model.layers.0.self_attn.q_proj"; None if generated.
    """

    gguf_name: str
    source: str | None
    shape: tuple[int, ...]
    heads: int | None = None
    offset: float = 0.0
    values: NDArray[np.float32] | None = field(default=None, compare=False)
    module: str | None = None


def common_items(settings: Settings, prefix: str) -> list[Item]:
    """Metadata that llama.cpp's converter writes for every plain text model."""
    items: list[Item] = [
        (f"{prefix}.block_count", settings.layers, "u32"),
        (f"{prefix}.context_length", settings.context, "u32"),
        (f"{prefix}.embedding_length", settings.embedding, "u32"),
        (f"{prefix}.feed_forward_length", settings.feed_forward, "u32"),
        (f"{prefix}.attention.head_count", settings.heads, "u32"),
        (f"{prefix}.attention.head_count_kv", settings.heads_kv, "u32"),
        *rope_items(settings.rope, prefix),
        (f"{prefix}.attention.layer_norm_rms_epsilon", settings.rms_epsilon, "f32"),
    ]
    if settings.head_length_given:
        items.append((f"{prefix}.attention.key_length", settings.head_length, "u32"))
        items.append((f"{prefix}.attention.value_length", settings.head_length, "u32"))
    return items


def _generate_nothing(settings: Settings) -> Arrays:
    return {}


def _accept(settings: Settings) -> None:
    """Take a model as it is."""


def _write_common(settings: Settings, prefix: str, vocab: int) -> list[Item]:
    return common_items(settings, prefix)


@dataclass(frozen=True)
class Family:
    """One family of models, as data.

    Attributes:
        name: Ours, also the name of its module.
        gguf_arch: GGUF's `general.architecture`.
        hf_names: Values of `architectures` in config.json.
        defaults: What transformers' configuration class fills in where config.json is silent.
        layer: Rules of one layer's tensors.
        items: Metadata from settings, key prefix and vocabulary size.
        generate: Tensors that are computed, by their GGUF name.
        read_rope: How rotary settings are read.
        check: Refuses settings that llama.cpp would compute otherwise.
        norm_offset: Added to the weights of norms.
        ignored: Patterns of tensors that are left out on purpose.
        own_output: Whether llama.cpp can load an output matrix apart from the embedding.
        square_heads: Whether llama.cpp wants all heads together as wide as the embedding.
        refused_flags: Flags of the configuration whose tensors llama.cpp cannot load.
        wrapped: Whether names may carry a vision-language model's wrapper.
    """

    name: str
    gguf_arch: str
    hf_names: frozenset[str]
    defaults: Mapping[str, Any]
    layer: tuple[Rule, ...]
    items: Callable[[Settings, str, int], list[Item]] = _write_common
    generate: Callable[[Settings], Arrays] = _generate_nothing
    read_rope: Callable[[Mapping[str, Any]], Rope] = read_rope
    check: Callable[[Settings], None] = _accept
    norm_offset: float = 0.0
    ignored: tuple[str, ...] = BUFFERS
    own_output: bool = True
    square_heads: bool = False
    refused_flags: tuple[str, ...] = ()
    wrapped: bool = False

    def settings(self, config: Mapping[str, Any]) -> Settings:
        """Read the hyper-parameters.

        Raises:
            CheckpointError: If config.json has a value of the wrong kind.
            UnsupportedError: If llama.cpp cannot load such a model.
        """
        settings = read_settings(config, self.defaults, self.read_rope)
        for flag in self.refused_flags:
            if settings.values.get(flag):
                raise UnsupportedError(
                    f"config.json says {flag!r}, but llama.cpp's {self.gguf_arch} architecture "
                    "has no place for those tensors: no GGUF file of it would load."
                )
        width = settings.heads * settings.head_length
        if self.square_heads and width != settings.embedding:
            raise UnsupportedError(
                f"{settings.heads} heads of {settings.head_length} are {width} wide, but "
                f"llama.cpp's {self.gguf_arch} architecture wants the embedding's width, "
                f"{settings.embedding}: no GGUF file of this model would load."
            )
        if not self.own_output and not settings.tied:
            self._refuse_own_output()
        self.check(settings)
        return settings

    def is_tied(self, config: Mapping[str, Any], available: Mapping[str, TensorInfo]) -> bool:
        """Whether the output matrix is the embedding.

        Some checkpoints of tied models hold an `lm_head.weight` all the same. It is left out
        then: compare its values with the embedding's first (`Family.duplicate_head` names it),
        and export with `untie=True` if they differ.
        """
        return self.settings(config).tied

    def duplicate_head(
        self, config: Mapping[str, Any], available: Mapping[str, TensorInfo]
    ) -> tuple[str, str] | None:
        """Names of the head and the embedding where a tied model's checkpoint holds both."""
        names = self._by_canonical_name(available)
        if self.settings(config).tied and HEAD in names and EMBEDDING in names:
            return names[HEAD], names[EMBEDDING]
        return None

    def tensors(
        self,
        config: Mapping[str, Any],
        available: Mapping[str, TensorInfo],
        *,
        vocab_size: int | None = None,
        untie: bool = False,
    ) -> list[TensorSource]:
        """All tensors of the GGUF file, in the order of llama.cpp's files.

        Args:
            config: config.json, a nested `text_config` laid over it.
            available: The checkpoint's tensors.
            vocab_size: Rows of embedding and output as exported, by default the
                configuration's.
            untie: Write an output matrix of its own for a tied model.

        Raises:
            CheckpointError: If tensors are missing, unknown or have the wrong shape.
            UnsupportedError: If llama.cpp cannot load such a model.
        """
        settings = self.settings(config)
        if untie and not self.own_output:
            self._refuse_own_output()
        names = self._by_canonical_name(available)
        rules = list(self._rules(settings, names, untie=untie))
        self._check_names(rules, names, settings)
        self._check_shapes(rules, names, available, settings)
        exported = replace(settings, vocab=vocab_size or settings.vocab)
        sources = [self._source(rule, names, exported) for rule in rules]
        for name, values in self.generate(settings).items():
            sources.append(TensorSource(name, None, values.shape, values=values))
        return sorted(sources, key=lambda tensor: file_order(tensor.gguf_name))

    def metadata(self, config: Mapping[str, Any], *, vocab_size: int | None = None) -> list[Item]:
        """GGUF keys, values and kinds ("u32", "f32", "string", "bool").

        All that llama.cpp's converter writes but names, file type, quantization version and
        tokenizer.
        """
        settings = self.settings(config)
        return [
            ("general.architecture", self.gguf_arch, "string"),
            ("general.type", "model", "string"),
            *self.items(settings, self.gguf_arch, vocab_size or settings.vocab),
        ]

    def shape(self, config: Mapping[str, Any], vocab_size: int | None = None) -> ModelShape:
        """The sizes that decide quantization types."""
        settings = self.settings(config)
        return ModelShape(
            architecture=self.gguf_arch,
            layers=settings.layers,
            embedding=settings.embedding,
            feed_forward=settings.feed_forward,
            heads=settings.heads,
            heads_kv=settings.heads_kv,
            key_length=settings.head_length,
            value_length=settings.head_length,
            vocab=vocab_size or settings.vocab,
        )

    def _refuse_own_output(self) -> None:
        raise UnsupportedError(
            f"llama.cpp's {self.gguf_arch} architecture always takes the embedding as output "
            "matrix, but here the two differ. Train the adapter without lm_head and "
            "embed_tokens, or tie them."
        )

    def _by_canonical_name(self, available: Mapping[str, TensorInfo]) -> dict[str, str]:
        if not self.wrapped:
            return {name: name for name in available}
        names: dict[str, str] = {}
        for name in available:
            plain = canonical_name(name)
            if plain in names:
                raise CheckpointError(
                    f"The checkpoint holds {plain!r} twice, as {names[plain]!r} and {name!r}. "
                    "Remove the copy that the model does not use."
                )
            names[plain] = name
        return names

    def _rules(
        self, settings: Settings, names: Mapping[str, str], *, untie: bool
    ) -> Iterator[Rule]:
        yield from ENDS
        if not settings.tied:
            yield OUTPUT
        elif untie:
            yield OUTPUT if HEAD in names else replace(OUTPUT, source=EMBEDDING)
        for number in range(settings.layers):
            for rule in self.layer:
                if rule.when is None or settings.values.get(rule.when):
                    yield replace(
                        rule,
                        gguf=f"blk.{number}.{rule.gguf}",
                        source=f"model.layers.{number}.{rule.source}",
                    )

    def _check_names(
        self, rules: Sequence[Rule], names: Mapping[str, str], settings: Settings
    ) -> None:
        wanted = {rule.source for rule in rules}
        missing = [rule.source for rule in rules if rule.source not in names]
        extra = [
            name
            for plain, name in names.items()
            if plain not in wanted and not self._is_ignored(plain, settings)
        ]
        if missing or extra:
            raise CheckpointError(
                f"The checkpoint is not the {self.name} model that config.json describes "
                f"({settings.layers} layers): {_list('missing', missing)}; "
                f"{_list('not expected', extra)}. Download it again, or repair config.json."
            )

    def _is_ignored(self, name: str, settings: Settings) -> bool:
        if name == HEAD and settings.tied:
            return True
        return any(re.search(pattern, name) for pattern in self.ignored)

    def _check_shapes(
        self,
        rules: Sequence[Rule],
        names: Mapping[str, str],
        available: Mapping[str, TensorInfo],
        settings: Settings,
    ) -> None:
        sizes = settings.sizes()
        wrong = []
        for rule in rules:
            found = available[names[rule.source]].shape
            expected = tuple(sizes[size] for size in rule.shape)
            if found != expected:
                wrong.append(f"{names[rule.source]} is {found}, expected {expected}")
        if wrong:
            raise CheckpointError(
                f"{_list('wrong shapes', wrong)}. config.json and the weights are not of the "
                "same model: download both again."
            )

    def _source(self, rule: Rule, names: Mapping[str, str], settings: Settings) -> TensorSource:
        sizes = settings.sizes()
        module = HEAD if rule.gguf == OUTPUT.gguf else rule.source
        return TensorSource(
            gguf_name=rule.gguf,
            source=names[rule.source],
            shape=tuple(sizes[size] for size in rule.shape),
            heads=getattr(settings, rule.heads) if rule.heads else None,
            offset=self.norm_offset if rule.norm else 0.0,
            module=module.rpartition(".")[0],
        )


def _list(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} {what}" + (f" ({shown}{more})" if names else "")
