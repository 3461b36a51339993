"""Open the base and the adapters, check them against each other, and lay out the output.

No weight is read here apart from the adapters' own small matrices where a decision needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import gguf

from loragraft.adapter.match import match_modules
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError
from loragraft.export.architectures import Family, TensorSource, find_family
from loragraft.export.blocks import change_name
from loragraft.export.carried import tokenizer_owner
from loragraft.export.delta import HEAD_NAME, Changes, Precision, collect_changes
from loragraft.export.embeddings import decide_tying
from loragraft.export.mix import Assignment, Mix, ModelShape, TensorSpec, assign_types, find_mix
from loragraft.export.mix.specs import tensor_bytes
from loragraft.export.model_name import exported_name
from loragraft.export.stream import StreamInput
from loragraft.export.tokenizer.vocabulary import (
    Vocabulary,
    build_vocabulary,
    vocabulary_items,
)
from loragraft.export.writer import Item, OutputTensor

QUANTIZATION_VERSION = gguf.GGML_QUANT_VERSION

_COMPARED_ROWS = 4096
"""Rows compared at a time: some ten MiB."""


@dataclass(frozen=True)
class OpenAdapter:
    """An adapter with the user's scale and the base tensor of each of its parts."""

    adapter: Adapter
    scale: float
    tensors: Mapping[str, str]


@dataclass(frozen=True)
class QuantLayout:
    """One output file: its mix, the type of each tensor, and where each lies."""

    mix: Mix
    assignments: Sequence[Assignment]
    specs: Sequence[TensorSpec]
    tensors: Sequence[OutputTensor]

    @property
    def data_bytes(self) -> int:
        """Bytes of tensor data with padding."""
        return sum(tensor.padded for tensor in self.tensors)


@dataclass(frozen=True)
class Layout:
    """All that is known before the first weight is read."""

    base: Checkpoint
    adapters: Sequence[OpenAdapter]
    family: Family
    sources: Sequence[TensorSource]
    changes: Changes
    vocabulary: Vocabulary
    vocab_size: int
    quants: Sequence[QuantLayout]
    types_from: str
    aliases: Mapping[str, str]
    warnings: Sequence[str]

    def stream_input(self, precision: Precision) -> StreamInput:
        """Return what the streaming engine reads."""
        return StreamInput(self.base, self.sources, self.changes, precision)

    def items(self, name: str, mix: Mix) -> list[Item]:
        """Return the metadata of one output file."""
        spelled = exported_name(name, self.family.gguf_arch, self.vocabulary.source)
        general: list[Item] = [
            ("general.type", "model", "string"),
            ("general.name", spelled, "string"),
            ("general.size_label", self.size_label, "string"),
        ]
        tail: list[Item] = [
            ("general.file_type", mix.ftype, "u32"),
            ("general.quantization_version", QUANTIZATION_VERSION, "u32"),
        ]
        taken = {key for key, _, _ in [*general, *tail]}
        family = self.family.metadata(self.base.config, vocab_size=self.vocab_size)
        kept = [item for item in family if item[0] not in taken]
        return [*general, *kept, *vocabulary_items(self.vocabulary), *tail]

    @property
    def size_label(self) -> str:
        """Return the parameter count as GGUF names it (``135M``, ``1.5B``)."""
        total = sum(spec.size for spec in self.quants[0].specs)
        label: str = gguf.size_label(total, 0, 0, 0)
        return label


def open_base(folder: Path, stack: ExitStack) -> Checkpoint:
    """Open a base checkpoint and keep it open with ``stack``."""
    return stack.enter_context(Checkpoint(folder))


def _aliases(base: Checkpoint, family: Family, embedding: str) -> dict[str, str]:
    """Let adapters name a tied head, which the checkpoint does not hold."""
    if HEAD_NAME not in base.tensors or family.is_tied(base.config, base.tensors):
        return {HEAD_NAME: embedding}
    return {}


def open_adapters(
    paths: Iterable[tuple[Path, float]], names: Iterable[str], stack: ExitStack
) -> tuple[list[OpenAdapter], list[str]]:
    """Open adapters and find the base tensor of every key.

    Raises:
        AdapterError: If a key does not land on the base: nothing is ever dropped.
    """
    opened: list[OpenAdapter] = []
    notes: list[str] = []
    known = list(names)
    for path, scale in paths:
        adapter = stack.enter_context(open_adapter(path))
        match = match_modules(adapter, known)
        lost = [*adapter.unknown, *match.missing, *match.missing_others]
        if lost:
            shown = "\n  ".join(map(repr, lost[:12])) + ("\n  …" if len(lost) > 12 else "")
            raise AdapterError(
                f"{len(lost)} keys of {adapter.path} do not land on the base, so its fine-tune "
                f"would be lost in part:\n  {shown}\n"
                "Check that this is the base it was trained on, and how it was saved "
                "(a PEFT wrapper on another level changes every key's prefix)."
            )
        if match.rewrite:
            notes.append(f"{adapter.path}: keys were renamed to fit the base ({match.rewrite})")
        notes.extend(adapter.notes)
        opened.append(OpenAdapter(adapter, scale, {**match.tensors, **match.others}))
    return opened, notes


def embedding_name(family: Family, base: Checkpoint) -> str:
    """Return the base's name of the token embedding."""
    sources = family.tensors(base.config, base.tensors)  # without one they are refused there
    return next(s.source for s in sources if s.gguf_name == "token_embd.weight" and s.source)


def _duplicate_differs(base: Checkpoint, family: Family) -> bool:
    """Whether a tied checkpoint holds an lm_head that is not the embedding after all."""
    pair = family.duplicate_head(base.config, base.tensors)
    if pair is None:
        return False
    rows = base.tensors[pair[1]].shape[0]
    if base.tensors[pair[0]].shape != base.tensors[pair[1]].shape:
        return True
    return any(
        (base.rows(pair[0], i, min(i + _COMPARED_ROWS, rows))
         != base.rows(pair[1], i, min(i + _COMPARED_ROWS, rows))).any()
        for i in range(0, rows, _COMPARED_ROWS)
    )  # fmt: skip


def _exported_rows(base: Checkpoint, embedding: str, changes: Changes) -> int:
    change = changes.by_tensor.get(embedding)
    if change is not None and change.origin is not None:
        return change.origin().shape[0]
    return base.tensors[embedding].shape[0]


def _refuse_lost(
    changes: Changes, sources: Sequence[TensorSource], aliases: Mapping[str, str]
) -> None:
    """Refuse changes of tensors that no output holds: nothing of an adapter is dropped.

    Raises:
        AdapterError: Naming them (those of a vision tower, for instance).
    """
    written = {change_name(source) for source in sources}
    lost = [name for name in changes.by_tensor if name not in written and name not in aliases]
    if lost:
        shown = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        raise AdapterError(
            f"The adapters change {len(lost)} tensors of the base that its GGUF does not hold "
            f"({shown}), so their fine-tune would be lost in part. Only the language model is "
            "exported: train on its modules alone, or serve the adapters unmerged with PEFT."
        )


def _check_head(
    changes: Changes, sources: Sequence[TensorSource], base: Checkpoint, vocab_size: int
) -> None:
    """Refuse an output matrix of other rows than the embedding's.

    Raises:
        AdapterError: If an adapter resized the vocabulary and holds one of the two only.
    """
    head = next((s for s in sources if s.gguf_name == "output.weight"), None)
    if head is None or head.source is None:
        return
    change = changes.by_tensor.get(change_name(head))
    saved = change.origin() if change is not None and change.origin is not None else None
    rows = base.tensors[head.source].shape[0] if saved is None else saved.shape[0]
    if rows != vocab_size:
        raise AdapterError(
            f"The vocabulary was resized in training: the embedding has {vocab_size} rows, the "
            f"output matrix ({HEAD_NAME}) has {rows}. Save the adapter again with both, by "
            "save_pretrained(..., save_embedding_layers=True)."
        )


def _specs(sources: Sequence[TensorSource]) -> list[TensorSpec]:
    return [TensorSpec(source.gguf_name, source.shape) for source in sources]


def _layout_quant(
    specs: Sequence[TensorSpec], shape: ModelShape, quant: str
) -> tuple[QuantLayout, str]:
    assignments, types_from = assign_types(shape, specs, quant)
    tensors = [
        OutputTensor(spec.name, spec.shape, int(a.qtype), tensor_bytes(spec, a.qtype))
        for spec, a in zip(specs, assignments, strict=True)
    ]
    return QuantLayout(find_mix(quant), assignments, specs, tensors), types_from


def lay_out(
    base: Checkpoint,
    adapters: Iterable[tuple[Path, float]],
    quants: Sequence[str],
    stack: ExitStack,
) -> Layout:
    """Decide everything about the output before a weight is read.

    Args:
        base: The opened base.
        adapters: Adapter paths with the user's scales.
        quants: Names of the mixes, one output file each.
        stack: Keeps the adapters open.

    Raises:
        LoragraftError: Whatever does not fit, with its cause and the next step.
    """
    family = find_family(base.config)
    embedding = embedding_name(family, base)
    aliases = _aliases(base, family, embedding)
    opened, warnings = open_adapters(adapters, [*base.tensors, *aliases], stack)
    changes = collect_changes(base, [(o.adapter, o.scale, o.tensors) for o in opened], aliases)
    untie = _duplicate_differs(base, family)
    if untie:
        warnings.append("config.json ties the embeddings, but lm_head holds other values: untied")
    elif aliases:
        tying = decide_tying(base, embedding, changes, [o.adapter for o in opened])
        untie = tying.untie
        warnings.extend([tying.note] if tying.note else [])
    vocab_size = _exported_rows(base, embedding, changes)
    sources = family.tensors(base.config, base.tensors, vocab_size=vocab_size, untie=untie)
    _refuse_lost(changes, sources, aliases)
    _check_head(changes, sources, base, vocab_size)
    folders = [o.adapter.folder for o in opened]
    owner = tokenizer_owner(folders, base.folder)
    vocabulary = build_vocabulary(
        base.folder,
        config=base.config,
        architecture=family.gguf_arch,
        adapter=owner if owner != base.folder else None,
        templates=[*reversed(folders), base.folder],
        vocab_size=vocab_size,
    )
    shape, specs = family.shape(base.config, vocab_size), _specs(sources)
    laid = [_layout_quant(specs, shape, quant) for quant in quants]
    return Layout(
        base, opened, family, sources, changes, vocabulary, vocab_size,
        [layout for layout, _ in laid], laid[0][1], aliases, [*warnings, *vocabulary.warnings],
    )  # fmt: skip
