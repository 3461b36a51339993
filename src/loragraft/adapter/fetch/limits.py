"""How much a fetch may bring, in bytes and files, before someone is asked."""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Bounds on what is fetched; beyond one the fetch stops with an error.

    Attributes:
        total_bytes: All files together, as downloaded and again as unpacked. A LoRA adapter of
            the largest open models has some GiB with its embeddings; whole models have more.
        file_bytes: One file.
        files: Number of files. A trainer's output folder has hundreds.
        ratio: Unpacked size over archive size, where the former is above ``ratio_from`` bytes.
            Trained weights hardly shrink (1.1 or so), text by ten; DEFLATE reaches 1032 at most,
            and only archives made to fill a disk come near.
        ratio_from: Below this even a bomb is harmless.
    """

    total_bytes: int = 20 * _GIB
    file_bytes: int = 20 * _GIB
    files: int = 10_000
    ratio: float = 100.0
    ratio_from: int = 64 << 20


DEFAULT_LIMITS = Limits()
