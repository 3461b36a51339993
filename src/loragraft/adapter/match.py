"""Match an adapter's module names with the tensor names of a base checkpoint.

The names of one model differ by how it was loaded: as text model, inside a multimodal model of
transformers 4 or 5, or as a bare backbone. Those styles are data; a rewrite is a pair of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

from loragraft.adapter.reader import Adapter
from loragraft.errors import AdapterError

_BACKBONE_CHILDREN = ("layers.", "embed_tokens", "norm", "h.", "wte", "encoder.", "embeddings.",
                      "transformer.", "pooler.")  # fmt: skip


@dataclass(frozen=True)
class NameStyle:
    """Where a model keeps its backbone and its output head."""

    label: str
    backbone: str
    head: str


NAME_STYLES = (
    NameStyle("text model", "model.", "lm_head"),
    NameStyle("multimodal, transformers 5", "model.language_model.", "lm_head"),
    NameStyle("multimodal, transformers 4", "language_model.model.", "language_model.lm_head"),
    NameStyle("nested text model", "language_model.", "lm_head"),
    NameStyle("bare backbone", "", "lm_head"),
)
ENCODER_STYLES = tuple(
    NameStyle(f"inside a {family}", f"{family}.", "classifier")
    for family in ("bert", "roberta", "deberta", "distilbert", "electra", "mpnet")
)
"""A classifier keeps its encoder under the family's name; a bare encoder has no such prefix. None
of them is rewritten to another: their layers are alike in name and in shape."""


@dataclass(frozen=True)
class Rewrite:
    """A change of style, from an adapter's names to a base's."""

    source: NameStyle
    target: NameStyle

    def apply(self, name: str) -> str | None:
        """Rewrite a module or tensor name; None where it does not stand in the source's style."""
        head = self.source.head
        if name == head or name.startswith(f"{head}."):
            return self.target.head + name[len(head) :]
        if not name.startswith(self.source.backbone):
            return None
        rest = name[len(self.source.backbone) :]
        return self.target.backbone + rest if rest.startswith(_BACKBONE_CHILDREN) else None

    def __str__(self) -> str:
        """Return the rewrite as ``'model.' → 'model.language_model.'``."""
        return f"{self.source.backbone!r} → {self.target.backbone!r}"


@dataclass(frozen=True)
class ModuleMatch:
    """Where an adapter's parts land in a base checkpoint.

    Attributes:
        tensors: Base module path as in the adapter to the base tensor's name, with ``.weight``.
        missing: Modules of the adapter that the base does not have.
        others: Tensor name in the adapter's style to the base's, for saved tensors, biases and
            the embeddings with trained rows (``model.embed_tokens.weight``).
        missing_others: Those of them that the base does not have. A tied ``lm_head.weight`` that
            the checkpoint does not hold stands here.
        rewrite: The rewrite used; None where the names agree as they are.
    """

    tensors: Mapping[str, str]
    missing: tuple[str, ...]
    others: Mapping[str, str]
    missing_others: tuple[str, ...]
    rewrite: Rewrite | None

    def name(self, adapter_name: str) -> str:
        """Return an adapter's module or tensor name in the base's style, there or not."""
        if self.rewrite is None:
            return adapter_name
        return self.rewrite.apply(adapter_name) or adapter_name


def match_modules(adapter: Adapter, base_tensor_names: Collection[str]) -> ModuleMatch:
    """Match every part of an adapter with a tensor of a base.

    Names are taken as they are unless a rewrite places more of them.

    Raises:
        AdapterError: If two rewrites place the modules equally well, at different tensors.
    """
    names = frozenset(base_tensor_names)
    wanted = {module: f"{module}.weight" for module in adapter.modules}
    others = [*adapter.saved, *adapter.biases]
    others += [f"{module}.weight" for module in adapter.token_rows]
    rewrite = _choose([*wanted.values(), *others], names)
    tensors, missing = _place(wanted, names, rewrite)
    placed, missing_others = _place({name: name for name in others}, names, rewrite)
    return ModuleMatch(tensors, missing, placed, missing_others, rewrite)


def _choose(wanted: Iterable[str], names: frozenset[str]) -> Rewrite | None:
    """Return the rewrite that places more names than the names as they are; None if none does."""
    wanted = list(wanted)
    best = sum(name in names for name in wanted)
    winners: dict[frozenset[str], Rewrite] = {}
    for rewrite in _rewrites():
        rewritten = {rewrite.apply(name) for name in wanted}
        placed = frozenset(name for name in rewritten if name is not None and name in names)
        if len(placed) > best:
            best, winners = len(placed), {placed: rewrite}
        elif winners and len(placed) == best:
            winners.setdefault(placed, rewrite)
    if len(winners) > 1:
        listed = " or ".join(str(rewrite) for rewrite in winners.values())
        raise AdapterError(
            f"The adapter's module names fit this base in two ways: {listed}. Save the adapter "
            "again from the model class the base is loaded with."
        )
    return next(iter(winners.values()), None)


def _rewrites() -> Iterator[Rewrite]:
    for source, target in permutations(NAME_STYLES, 2):
        yield Rewrite(source, target)
    bare = NAME_STYLES[-1]
    for style in ENCODER_STYLES:
        yield Rewrite(style, bare)
        yield Rewrite(bare, style)


def _place(
    wanted: Mapping[str, str], names: frozenset[str], rewrite: Rewrite | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    placed: dict[str, str] = {}
    missing: list[str] = []
    for label, name in wanted.items():
        new = rewrite.apply(name) if rewrite is not None else name
        if new in names and new is not None:
            placed[label] = new
        else:
            missing.append(label)
    return placed, tuple(missing)
