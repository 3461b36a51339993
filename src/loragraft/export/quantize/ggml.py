"""The quantization functions of ggml, called in the library that llama-cpp-python brings.

Only `libggml-base` is loaded: importing `llama_cpp` itself would load every backend and takes
far longer. ctypes releases the interpreter lock during each call, so row blocks run on threads.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loragraft.engine.llama_library import library_folder
from loragraft.errors import UnavailableError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIBRARY_STEM = "ggml-base"

REINSTALL = (
    "Reinstall it with: pip install --force-reinstall --no-cache-dir llama-cpp-python "
    "(it is compiled on installation and needs a C++ compiler: g++ or clang on Linux, "
    "the Xcode command line tools on macOS, the Visual Studio Build Tools on Windows)"
)


class Ggml:
    """Bindings of one loaded `libggml-base`."""

    def __init__(self, path: Path) -> None:
        """Load the library at `path`.

        Raises:
            UnavailableError: it cannot be loaded, or lacks a function that is needed.
        """
        self.path = path
        try:
            self._library = _load(path)
            self._bind()
        except (OSError, AttributeError) as error:
            raise UnavailableError(
                f"ggml's library {path} does not serve: {error}. {REINSTALL}"
            ) from error

    def _bind(self) -> None:
        """Declare the signatures, as in ggml.h."""
        library = self._library
        self._quantize_chunk = library.ggml_quantize_chunk
        self._quantize_chunk.restype = ctypes.c_size_t
        self._quantize_chunk.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_void_p,
        ]
        self._validate = library.ggml_validate_row_data
        self._validate.restype = ctypes.c_bool
        self._validate.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
        self._row_size = library.ggml_row_size
        self._row_size.restype = ctypes.c_size_t
        self._row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
        self._block_size = library.ggml_blck_size
        self._block_size.restype = ctypes.c_int64
        self._block_size.argtypes = [ctypes.c_int]
        self._requires_imatrix = library.ggml_quantize_requires_imatrix
        self._requires_imatrix.restype = ctypes.c_bool
        self._requires_imatrix.argtypes = [ctypes.c_int]
        self._init = library.ggml_quantize_init
        self._init.restype = None
        self._init.argtypes = [ctypes.c_int]

    @property
    def description(self) -> str:
        """Path and version, for metadata and error messages."""
        words = [str(self.path)]
        for name in ("ggml_version", "ggml_commit"):
            function = getattr(self._library, name, None)
            if function is not None:
                function.restype = ctypes.c_char_p
                function.argtypes = []
                words.append(f"{name.removeprefix('ggml_')} {function().decode()}")
        return ", ".join(words)

    def prepare(self, qtype: int) -> None:
        """Build the tables of a type once, before threads start (a no-op for most types)."""
        self._check_type(qtype)
        self._init(qtype)

    def row_bytes(self, qtype: int, length: int) -> int:
        """Bytes of one row of `length` elements.

        Raises:
            UnsupportedError: the length is no multiple of the type's block size.
        """
        _known(qtype)
        block = int(self._block_size(qtype))
        if block <= 0 or length % block:
            raise UnsupportedError(
                f"a row of {length} elements cannot be stored as {type_name(qtype)}: "
                f"its blocks hold {block} elements. Choose a type whose blocks divide the row."
            )
        return int(self._row_size(qtype, length))

    def quantize(self, qtype: int, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Encode `x` (float32, [rows, n]) and return uint8 [rows, row_bytes]."""
        rows, length = x.shape
        out = np.empty((rows, self.row_bytes(qtype, length)), dtype=np.uint8)
        self.quantize_into(qtype, x, out)
        return out

    def quantize_into(self, qtype: int, x: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """Encode `x` (float32, [rows, n]) into `out` (uint8, [rows, row_bytes]).

        ggml aborts the process on bad arguments, hence every check before the call.

        Raises:
            UnsupportedError: the type needs an importance matrix, or the row does not fit it.
            ValueError: shapes, dtypes or memory layout are not as stated (a bug of the caller).
        """
        self._check_type(qtype)
        rows, length = x.shape
        check_buffers(x, out, self.row_bytes(qtype, length))
        if rows and length:
            self._quantize_chunk(qtype, x.ctypes.data, out.ctypes.data, 0, rows, length, None)

    def validate(self, qtype: int, data: NDArray[np.uint8]) -> bool:
        """Say whether encoded rows hold finite scales (ggml's own check of a file's rows)."""
        _known(qtype)
        if not data.flags.c_contiguous:
            raise ValueError("encoded rows must be C-contiguous")
        return bool(self._validate(qtype, data.ctypes.data, data.nbytes))

    def _check_type(self, qtype: int) -> None:
        _known(qtype)
        if self._requires_imatrix(qtype):
            raise UnsupportedError(
                f"{type_name(qtype)} needs an importance matrix, which loragraft does not make. "
                "Choose a type that needs none, such as Q4_K."
            )


def check_buffers(x: NDArray[np.float32], out: NDArray[np.uint8], row_bytes: int) -> None:
    """Raise ValueError unless `x` and `out` are what the kernels may be given."""
    if x.ndim != 2 or x.dtype != np.float32 or not x.flags.c_contiguous:
        raise ValueError(f"weights must be C-contiguous float32 [rows, n], not {x.dtype} {x.shape}")
    expected = (x.shape[0], row_bytes)
    if out.dtype != np.uint8 or out.shape != expected or not out.flags.c_contiguous:
        raise ValueError(
            f"output must be C-contiguous uint8 {expected}, not {out.dtype} {out.shape}"
        )
    if not out.flags.writeable:
        raise ValueError("output must be writeable")


def type_name(qtype: int) -> str:
    """Name of a GGUF tensor type, or its number where gguf does not know it."""
    from gguf import GGMLQuantizationType

    try:
        return GGMLQuantizationType(qtype).name
    except ValueError:
        return f"type {qtype}"


@lru_cache(maxsize=1)
def load_ggml() -> Ggml:
    """Load ggml once for this process.

    Raises:
        UnavailableError: llama-cpp-python is not installed, or its library is missing or broken.
    """
    return Ggml(find_library())


def find_library() -> Path:
    """Path of libggml-base, beside the libllama that is asked for tensor types.

    Raises:
        UnavailableError: llama-cpp-python is not installed, or no such library is there under
            any name of this platform.
    """
    folder = library_folder()
    if folder is None:
        raise UnavailableError(
            "Quantization needs ggml, which comes with llama-cpp-python, a dependency of "
            f"loragraft that is not installed here. {REINSTALL}"
        )
    for pattern in library_patterns(sys.platform):
        matches = sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
        if matches:
            return matches[0]
    raise UnavailableError(
        f"llama-cpp-python's libraries should be in {folder}, but it holds no {LIBRARY_STEM} "
        f"library. {REINSTALL}"
    )


def library_patterns(platform: str) -> tuple[str, ...]:
    """File name patterns of libggml-base on a platform (as in `sys.platform`), best first."""
    if platform == "win32":
        return (f"{LIBRARY_STEM}.dll", f"lib{LIBRARY_STEM}.dll", f"*{LIBRARY_STEM}*.dll")
    if platform == "darwin":
        return (
            f"lib{LIBRARY_STEM}.dylib",
            f"lib{LIBRARY_STEM}.*.dylib",
            f"lib{LIBRARY_STEM}.so",
        )
    return (f"lib{LIBRARY_STEM}.so", f"lib{LIBRARY_STEM}.so.*")


def _load(path: Path) -> ctypes.CDLL:
    if sys.platform == "win32":
        with os.add_dll_directory(str(path.parent)):
            return ctypes.CDLL(str(path))
    return ctypes.CDLL(str(path))


def _known(qtype: int) -> None:
    """Refuse numbers that ggml would index its tables with unchecked."""
    from gguf import GGMLQuantizationType

    if qtype not in frozenset(int(kind) for kind in GGMLQuantizationType):
        raise UnsupportedError(
            f"{qtype} is no GGUF tensor type that loragraft knows. Choose one of gguf's "
            "GGMLQuantizationType values."
        )
