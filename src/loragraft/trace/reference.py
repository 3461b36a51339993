"""What the training's side asks for: the file that base and adapter should become, on paper."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from loragraft.checkpoint.gguf_chat import ChatFacts, chat_facts
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.checkpoint.turn_ends import turn_ends
from loragraft.errors import TokenizerError, UnsupportedError
from loragraft.export.engine import choose_engine
from loragraft.export.mix import find_mix
from loragraft.export.prepare import Layout, lay_out, open_base
from loragraft.export.request import ExportRequest

FLOATS = "F32"
"""The mix whose metadata are laid out: apart from the file type they are those of every mix."""


@dataclass(frozen=True)
class Paper:
    """What one stage says of itself: the metadata of the GGUF file that it is or would become.

    Attributes:
        items: Metadata by key; empty where they cannot be told.
        facts: What they say of conversations.
    """

    items: Mapping[str, Any] = field(default_factory=dict)
    facts: ChatFacts | None = None

    @property
    def architecture(self) -> str:
        """GGUF's name of the architecture; empty where unknown."""
        return str(self.items.get("general.architecture", ""))

    def own(self, key: str) -> Any:  # noqa: ANN401 - a metadata value
        """Return a value by its key after the architecture's name."""
        return self.items.get(f"{self.architecture}.{key}")


@dataclass(frozen=True)
class Reference:
    """Base and adapter, laid out as the file they should become.

    Attributes:
        request: Base and adapters, as an export takes them.
        layout: Where every tensor comes from; None for architectures that are not laid out here.
        paper: Its metadata.
        weighed: Whether the layout knows the adapter's change of the weights.
        notes: What cannot be compared, and why.
    """

    request: ExportRequest
    layout: Layout | None
    paper: Paper
    weighed: bool
    notes: tuple[str, ...] = ()

    @property
    def adapter(self) -> Path | None:
        """The adapter's path, if there is one."""
        return self.request.adapters[0][0] if self.request.adapters else None

    @property
    def required_ends(self) -> frozenset[int]:
        """The tokens that end an answer in training: EOS and what the template writes after one.

        Further tokens of ``generation_config.json`` are left out: some lists name tokens that
        only begin a turn (Phi-3's ``<|assistant|>``), and no engine takes those from a file.
        """
        facts = self.paper.facts
        if facts is None:
            return frozenset()
        ends = set() if facts.eos_id is None else {facts.eos_id}
        if facts.template is not None:
            ends.update(turn_ends(facts.template, facts))
        return frozenset(ends)


class _Items:
    """Metadata in memory, read as a GGUF file's."""

    def __init__(self, items: Mapping[str, Any], path: Path) -> None:
        self._items, self.path, self.keys = items, path, tuple(items)

    def get(self, key: str, default: object = None) -> object:
        return self._items.get(key, default)


def paper_of(items: Mapping[str, Any], path: Path) -> Paper:
    """Return metadata in memory as a stage's paper.

    Raises:
        BundleError: If they name no vocabulary.
    """
    return Paper(items, chat_facts(cast(GgufFile, _Items(items, path))))


def file_paper(file: GgufFile) -> Paper:
    """Return what a GGUF file says of itself.

    Raises:
        BundleError: If it has no vocabulary.
    """
    return Paper({key: file.get(key) for key in file.keys}, chat_facts(file))


def layout_paper(layout: Layout) -> Paper:
    """Return the metadata that a layout would be written with."""
    items = {key: value for key, value, _ in layout.items("reference", find_mix(FLOATS))}
    return paper_of(items, layout.base.folder)


def lay_out_folder(folder: Path, stack: ExitStack) -> Layout | None:
    """Lay out a whole checkpoint, or return None where its kind is not laid out here.

    Raises:
        CheckpointError: If the folder is none, or is broken.
    """
    try:
        return lay_out(open_base(folder, stack), (), (FLOATS,), stack)
    except (UnsupportedError, TokenizerError):
        return None


def open_reference(request: ExportRequest, stack: ExitStack) -> Reference:
    """Lay out base and adapter.

    Raises:
        CheckpointError: If the base is none, or broken.
        AdapterError: If the adapter is none, or does not land on the base.
        UnsupportedError: If the adapter changes no weights.
    """
    base = open_base(request.base, stack)
    choice = choose_engine(request, base)
    weighed = choice.engine == "stream"
    try:
        layout = lay_out(base, request.adapters if weighed else (), (FLOATS,), stack)
        paper = layout_paper(layout)
    except (UnsupportedError, TokenizerError) as error:
        note = f"Metadata and weights are not compared with the base's: {error}"
        return Reference(request, None, Paper(), False, (note,))
    notes = layout.warnings
    if not weighed:
        notes = [*notes, f"What the adapter does to the weights is not measured: {choice.reason}"]
    return Reference(request, layout, paper, weighed, tuple(notes))
