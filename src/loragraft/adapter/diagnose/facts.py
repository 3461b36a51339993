"""What the five tests measured, as the hypotheses read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loragraft.adapter.diagnose.difference import Difference, Vectors
from loragraft.adapter.diagnose.report import Kind
from loragraft.adapter.diagnose.structure import Shift
from loragraft.adapter.findings import Finding


@dataclass(frozen=True)
class WayResult:
    """A model with the adapter, loaded in one way that people load it.

    Attributes:
        name: The way (``wrapper``, ``inner``, ``load_adapter``, ``merged``, ``renamed``).
        code: The call, as people write it.
        error: Why it could not be loaded; None if it could.
        difference: Its outputs against the base's.
        by_hand: What a forward pass by hand gave beside the usual call, in words.
        bypassed: Whether by hand it differs from the base, but not by the usual call.
        missing: Parameters of the adapter that the file did not fill.
        unexpected: Keys of the file that landed nowhere.
        layers: Layers that PEFT put in.
        is_peft_model: Whether a ``PeftModel`` stands anywhere in it.
        place: Where the first adapted layer sits.
        trainable: Parameters of the adapter.
        total: Parameters of the whole.
        pair_vectors: Embeddings of the labelled pairs, where there are any.
    """

    name: str
    code: str
    error: str | None = None
    difference: Difference | None = None
    by_hand: str = ""
    bypassed: bool | None = None
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    layers: int = 0
    is_peft_model: bool = False
    place: str = ""
    trainable: int = 0
    total: int = 0
    pair_vectors: Vectors | None = None

    @property
    def landed(self) -> bool | None:
        """Whether every key landed; None if it could not be loaded."""
        return None if self.error else not self.missing and not self.unexpected

    @property
    def changed(self) -> bool | None:
        """Whether the outputs differ from the base's beyond noise; None if not measured."""
        return None if self.difference is None else self.difference.beyond_noise

    @property
    def effective(self) -> bool | None:
        """Whether the outputs differ from the base's by enough; None if not measured."""
        return None if self.difference is None else self.difference.verdict == "effective"


@dataclass(frozen=True)
class Facts:
    """All that was measured.

    Attributes:
        kind: What the base is.
        base: Path for the code of a fix.
        adapter: Path for the code of a fix.
        prepare: Code that a fix begins with, where PEFT would not find the weights by their name.
        right: Name of the way that should work.
        results: Every way by name.
        paths: Modules of the file, with PEFT's prefix.
        shift: The change of names by which they all fit; None if none does.
        landing: How many of them name a module of the encoder or the language model.
        renamed: The right way with changed names, where a change is needed.
        pairs: Number of LoRA pairs in the file, by its keys.
        idle: How many of them have a factor that is exactly zero.
        nonfinite: Number of values that are NaN or Inf.
        files: What the checks of the files found.
    """

    kind: Kind
    base: str
    adapter: str
    prepare: str
    right: str
    results: Mapping[str, WayResult]
    paths: tuple[str, ...]
    shift: Shift | None
    landing: int
    renamed: WayResult | None
    pairs: int
    idle: int
    nonfinite: int
    files: tuple[Finding, ...]

    @property
    def usual(self) -> WayResult:
        """The way that should work."""
        return self.results[self.right]
