"""Vectors in FAISS, and exact search over them on a memory-mapped file.

Row i of every index here is chunk i of the store. The exact vectors are always there; an
approximate index beside them only makes large collections faster to search.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.hashing import HashingFile
from loragraft.errors import InputError, MissingExtraError, UnsupportedError
from loragraft.rag.index.layout import FileInfo

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

BLOCK_ROWS = 8192
"""Vectors handled at once where all are gone through: some 12 MB of MiniLM's."""
FLOAT_BYTES = 4
_COUNT_AT = 8
"""Where a FAISS index's head has the number of vectors: behind its kind and their dimensions."""
QUESTION_NOISE = 0.5
"""Length of the noise that makes a question of a chunk's vector: a cosine of 0.89 to it. Recall
measured with the chunks' own vectors was 0.95 where such questions had 0.88 (HNSW, 10^6)."""
NOWHERE = -1
"""The row of a result that is none, where fewer were found than asked for."""


def load_faiss() -> Any:  # noqa: ANN401 - its own annotations are partial
    """Import FAISS.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise MissingExtraError("faiss-cpu", "rag", "A search index") from None


def read_index(path: Path, *, mapped: bool = True) -> Any:  # noqa: ANN401
    """Read a FAISS index; with ``mapped`` its pages come from the disk when they are needed.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If FAISS cannot read it.
    """
    faiss = load_faiss()
    if not path.is_file():
        raise FileNotFoundError(path)
    # Files are mapped from 1.11 on; before, they are read whole.
    flags = getattr(faiss, "IO_FLAG_MMAP_IFC", 0) if mapped else 0
    try:
        return faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"{path} cannot be read by FAISS: {_short(error)}. loragraft rag verify tells what is "
            "damaged; build the index again with loragraft rag index --replace."
        ) from None


def _short(error: BaseException) -> str:
    text = str(error)
    return text[text.rfind("Error: ") :][:200] if "Error: " in text else text[:200]


def write_index(index: Any, folder: Path, name: str) -> FileInfo:  # noqa: ANN401
    """Write a FAISS index and flush it to the disk.

    Returns:
        Its name, size and hash.

    Raises:
        OutOfSpaceError: If the disk is full.
    """
    faiss = load_faiss()
    with HashingFile(folder / name) as file:
        writer = faiss.PyCallbackIOWriter(lambda data: file.write(bytes(data)), 1 << 20)
        faiss.write_index(index, writer)
        del writer  # flushes
        file.sync()
        return FileInfo(name, file.position, file.hexdigest())


class ExactVectors:
    """All vectors of an index, read from its file as they are needed."""

    def __init__(self, path: Path, dimensions: int, *, mapped: bool = True) -> None:
        """Open the file.

        Raises:
            FileNotFoundError: If there is none.
            InputError: If FAISS cannot read it, or it holds something else.
        """
        faiss = load_faiss()
        self.path = path
        self._index = read_index(path, mapped=mapped)
        fits = isinstance(self._index, faiss.IndexFlat) and self._index.d == dimensions
        if not fits or self._index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise InputError(
                f"{path} holds no exact vectors of {dimensions} dimensions. Build the index again "
                "with loragraft rag index --replace."
            )
        self.dimensions = dimensions

    def __len__(self) -> int:
        """Return how many vectors there are."""
        return int(self._index.ntotal)

    @property
    def array(self) -> Floats:
        """All of them as they lie in the file, shape [rows, dimensions].

        Only for reading, and only while this object lives.
        """
        count = len(self)
        if not count:
            return np.empty((0, self.dimensions), np.float32)
        flat = load_faiss().rev_swig_ptr(self._index.get_xb(), count * self.dimensions)
        array: Floats = flat.reshape(count, self.dimensions)
        return array

    def search(self, vectors: Floats, k: int, rows: Rows | None = None) -> tuple[Floats, Rows]:
        """Find the nearest vectors by inner product.

        Args:
            vectors: Queries, shape [queries, dimensions].
            k: How many.
            rows: Only among these, where given.

        Returns:
            Scores, falling, and rows, both of shape [queries, k]; :data:`NOWHERE` and minus
            infinity behind the last that there is.
        """
        faiss = load_faiss()
        options: dict[str, Any] = {}
        if rows is not None:
            allowed = np.zeros(len(self), bool)
            allowed[rows] = True
            bits = np.packbits(allowed, bitorder="little")
            options["params"] = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        scores, found = self._index.search(vectors, k, **options)
        return clean(scores, found)


def clean(scores: Floats, rows: Rows) -> tuple[Floats, Rows]:
    """Give the places behind the last result a score below every other."""
    scores[rows < 0] = -np.inf
    return scores, rows


def check_queries(vectors: NDArray[Any], dimensions: int, k: int) -> Floats:
    """Return queries as FAISS wants them.

    Raises:
        InputError: If they are of other dimensions or not finite, or k is less than 1.
    """
    queries = np.ascontiguousarray(np.atleast_2d(vectors), dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimensions:
        raise InputError(
            f"The question's vector has {queries.shape[-1]} dimensions, those of the index "
            f"{dimensions}: another embedder made it. Ask with the index's own."
        )
    if k < 1:
        raise InputError(f"{k} passages were asked for; give a number from 1 on.")
    if not np.isfinite(queries).all():
        raise InputError("The question's vector holds NaN or Inf: the embedder is broken.")
    return queries


def write_exact(
    folder: Path, name: str, shape: tuple[int, int], blocks: Iterable[Floats]
) -> FileInfo:
    """Write the file of an exact FAISS index block by block, and flush it to the disk.

    FAISS itself would want all vectors in memory. Its file is a head, which ends with the number
    of values, and the values; the head of an empty index is made and the numbers put in.

    Args:
        folder: Where.
        name: Of the file.
        shape: Vectors and dimensions that the blocks have together.
        blocks: Vectors, shape [some, dimensions].

    Returns:
        Its name, size and hash.

    Raises:
        OutOfSpaceError: If the disk is full.
        UnsupportedError: If this version of FAISS writes another head.
    """
    faiss, (count, width) = load_faiss(), shape
    head = bytearray(faiss.serialize_index(faiss.IndexFlatIP(width)).tobytes())
    head[_COUNT_AT : _COUNT_AT + 8] = count.to_bytes(8, "little")
    head[-8:] = (count * width).to_bytes(8, "little")
    size = len(head) + count * width * FLOAT_BYTES
    with HashingFile(folder / name, expected=size) as file:
        file.write(bytes(head))
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype="<f4").data)
        file.sync()
        written = FileInfo(name, file.position, file.hexdigest())
    if written.bytes != size or len(ExactVectors(folder / name, width)) != count:
        raise UnsupportedError(
            f"FAISS {faiss.__version__} writes its files in a way that is not known. Install "
            "another version of faiss-cpu."
        )
    return written


def blocks_of(vectors: Floats, rows: int = BLOCK_ROWS) -> Iterable[Floats]:
    """Return vectors block by block."""
    return (vectors[first : first + rows] for first in range(0, len(vectors), rows))


def questions_beside(vectors: Floats, rows: Rows, seed: int) -> Floats:
    """Return unit vectors near some rows' own: questions lie beside chunks, never on them.

    Approximate search finds what it holds itself more easily than what is asked of it.

    Returns:
        Shape [rows, dimensions], the same for the same seed.
    """
    found: NDArray[Any] = np.asarray(vectors[rows], np.float32)
    noise = np.random.default_rng(seed).standard_normal(found.shape, dtype=np.float32)
    noise *= QUESTION_NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    found = found + noise
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    asked: Floats = (found / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return asked


def overlap(found: Rows, wanted: Rows) -> float:
    """Return the share of wanted rows that were found; 1.0 where none was wanted."""
    return float(shares_found(found, wanted).mean()) if len(wanted) else 1.0


def shares_found(found: Rows, wanted: Rows) -> Floats:
    """Return for each question the share of its wanted rows that were found; 1.0 of none."""
    shares = np.ones(len(wanted), np.float32)
    for number, (mine, right) in enumerate(zip(found, wanted, strict=True)):
        these = set(right[right >= 0].tolist())
        if these:
            shares[number] = len(these & set(mine.tolist())) / len(these)
    return shares


def parameter(parameters: Mapping[str, int], name: str, lowest: int = 1) -> int:
    """Return a whole number among an index's parameters.

    Raises:
        InputError: If it is missing or too small.
    """
    value = parameters.get(name)
    if type(value) is not int or value < lowest:
        raise InputError(f"The index's search parameter {name} is {value!r}. Build it again.")
    return value
