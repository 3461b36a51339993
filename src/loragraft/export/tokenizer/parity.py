"""Gate: the finished file's tokenizer gives the original's ids.

`python -m loragraft.export.tokenizer.parity GGUF TOKENIZER_DIR` prints one JSON object, so that the
gate can run in a child process: llama.cpp aborts the process on some broken vocabularies.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.engine.llama_vocabulary import LlamaTokenizer, open_vocabulary
from loragraft.errors import LoragraftError, TokenizerError, UnavailableError
from loragraft.export.tokenizer import battery
from loragraft.export.tokenizer.differences import (
    KNOWN_DIFFERENCES,
    Facts,
    agrees_elsewhere,
    facts_of,
)
from loragraft.export.tokenizer.files import TOKENIZER_JSON, TOKENIZER_MODEL, read_files
from loragraft.export.tokenizer.inventory import AddedToken, read_inventory
from loragraft.export.tokenizer.vocabulary import prepend_scheme

if TYPE_CHECKING:
    import tokenizers

MAX_SHOWN = 20
_READER = "sentencepiece"


@dataclass(frozen=True)
class Mismatch:
    """One text with different ids. `known`: the name of the difference that explains it."""

    text: str
    expected: list[int]
    found: list[int]
    special: bool
    known: str | None = None


@dataclass(frozen=True)
class ParityReport:
    """Result of a comparison. `passed`: no mismatch but known differences."""

    cases: int
    mismatches: tuple[Mismatch, ...]
    explained: tuple[Mismatch, ...]
    reference: str
    vocabulary: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every difference is a known one."""
        return not self.mismatches

    def as_json(self) -> dict[str, Any]:
        """Return the report with the first mismatches, for printing and for metadata."""
        names = [difference.name for difference in KNOWN_DIFFERENCES]
        counts = {name: sum(m.known == name for m in self.explained) for name in names}
        return {
            "passed": self.passed,
            "cases": self.cases,
            "mismatch_count": len(self.mismatches),
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches[:MAX_SHOWN]],
            "known_differences": {
                difference.name: {"count": counts[difference.name], "reason": difference.reason}
                for difference in KNOWN_DIFFERENCES
                if counts[difference.name]
            },
            "explained": [asdict(mismatch) for mismatch in self.explained[:MAX_SHOWN]],
            "reference": self.reference,
            "vocabulary": self.vocabulary,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class _Reference:
    """The original tokenizer: ids of texts, with and without special tokens added."""

    name: str
    encode: Callable[[Sequence[str], bool], list[list[int]]]
    added: tuple[AddedToken, ...]
    facts: Facts
    adds_special: bool
    parses_special: bool


def check_token_parity(
    gguf: Path, tokenizer_dir: Path, *, extra: Iterable[str] = ()
) -> ParityReport:
    """Compare token ids of a GGUF file with those of a Hugging Face tokenizer folder.

    Args:
        gguf: the finished file; only its vocabulary is loaded.
        tokenizer_dir: the folder the vocabulary was built from.
        extra: more texts to compare.

    Raises:
        TokenizerError: one of the two cannot be loaded.
        UnavailableError: llama-cpp-python, or for a checkpoint with only tokenizer.model the
            sentencepiece package, is not installed.
    """
    start = time.perf_counter()
    reference = _reference(tokenizer_dir)
    with open_vocabulary(gguf) as llama:
        # tokens that have no row in the model cannot be written, and are not compared
        added = [token.content for token in reference.added if token.id < llama.size]
        if reference.facts.sentencepiece:
            added += [content.replace("▁", " ") for content in added if "▁" in content]
        texts = battery.all_texts(added, extra)
        found = list(_compare(reference, llama, texts, special=False))
        cases = len(texts)
        if reference.adds_special:
            found += _compare(reference, llama, battery.WITH_SPECIAL, special=True)
            cases += len(battery.WITH_SPECIAL)
        size = llama.size
    return ParityReport(
        cases=cases,
        mismatches=tuple(mismatch for mismatch in found if mismatch.known is None),
        explained=tuple(mismatch for mismatch in found if mismatch.known is not None),
        reference=reference.name,
        vocabulary=size,
        seconds=time.perf_counter() - start,
    )


def _compare(
    reference: _Reference, llama: LlamaTokenizer, texts: Sequence[str], *, special: bool
) -> Iterable[Mismatch]:
    parse = reference.parses_special
    for text, expected in zip(texts, reference.encode(texts, special), strict=True):
        found = llama.encode(text, add_special=special, parse_special=parse)
        if found != expected:
            known = _explain(reference.facts, llama, text, (expected, found), special, parse)
            yield Mismatch(text, expected, found, special, known)


def _explain(
    facts: Facts,
    llama: LlamaTokenizer,
    text: str,
    ids: tuple[list[int], list[int]],
    special: bool,
    parse: bool,
) -> str | None:
    """Return the known difference that explains the ids of the original and of llama.cpp."""

    def plain(part: str) -> list[int]:
        return llama.encode(part, add_special=False, parse_special=False)

    expected, found = ids
    for difference in KNOWN_DIFFERENCES:
        if not difference.applies(facts, text):
            continue
        if difference.rewrite is not None:
            rewritten = difference.rewrite(text)
            if llama.encode(rewritten, add_special=special, parse_special=parse) == expected:
                return difference.name
        elif not difference.local or agrees_elsewhere(
            facts, text, expected, found, plain, special=special
        ):
            return difference.name
    return None


def _reference(folder: Path) -> _Reference:
    files = read_files(folder)
    if files.json is not None:
        return _reference_from_json(folder, files.json, read_inventory(files).added)
    if files.sentencepiece is not None:
        return _reference_from_model(files.sentencepiece)
    raise TokenizerError(
        f"{folder} has neither {TOKENIZER_JSON} nor {TOKENIZER_MODEL} to compare with. Name the "
        "folder from which the vocabulary was built."
    )


def _reference_from_json(
    folder: Path, tokenizer: Mapping[str, Any], added: Mapping[int, AddedToken]
) -> _Reference:
    from tokenizers import Tokenizer

    path = folder / TOKENIZER_JSON
    try:
        # not from_file, which takes no path that is no UTF-8
        original = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises bare Exception for whatever Rust reports
        raise TokenizerError(
            f"the tokenizers library does not load {path} ({error}). Download the file again."
        ) from error
    original.no_padding()
    original.no_truncation()

    def encode(texts: Sequence[str], special: bool) -> list[list[int]]:
        encoded = original.encode_batch(list(texts), add_special_tokens=special)
        return [encoding.ids for encoding in encoded]

    # what tokenizer_config.json alone adds; transformers does so after loading, too
    listed = {entry["content"] for entry in tokenizer.get("added_tokens") or []}
    late = [token for token in added.values() if token.content not in listed]
    original.add_tokens([_as_loaded(token) for token in late])
    known = tuple(added.values())
    return _Reference(
        name=f"tokenizers, {path.name}",
        encode=encode,
        added=known,
        facts=facts_of(tokenizer, known, prepend_scheme(tokenizer)),
        adds_special=tokenizer.get("post_processor") is not None,
        parses_special=True,
    )


def _as_loaded(token: AddedToken) -> tokenizers.AddedToken:
    from tokenizers import AddedToken as Loaded

    return Loaded(
        token.content,
        special=token.special,
        normalized=token.normalized,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        single_word=token.single_word,
    )


def require_reference(folder: Path) -> None:
    """Raise unless there is what reads a folder's tokenizer: ask before the hours of writing.

    Raises:
        UnavailableError: the folder has only tokenizer.model, and sentencepiece is missing.
    """
    files = read_files(folder)
    if files.json is None and files.sentencepiece is not None and find_spec(_READER) is None:
        raise _no_reader(files.sentencepiece)


def _no_reader(path: Path) -> UnavailableError:
    return UnavailableError(
        f"{path} has no {TOKENIZER_JSON} beside it, and comparing token ids with it needs the "
        f"package {_READER}. Install it with: pip install {_READER}"
    )


def _reference_from_model(path: Path) -> _Reference:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise _no_reader(path) from error
    original = SentencePieceProcessor(model_proto=path.read_bytes())

    def encode(texts: Sequence[str], special: bool) -> list[list[int]]:
        return [original.encode(text, add_bos=special) for text in texts]

    return _Reference(
        name=f"sentencepiece, {path.name}",
        encode=encode,
        added=(),
        facts=Facts(frozenset(), (), "always", frozenset(), sentencepiece=True),
        adds_special=False,
        parses_special=False,
    )


def main(arguments: Sequence[str]) -> int:
    """Print the report of `GGUF TOKENIZER_DIR` as JSON; return 0 passed, 1 not, 2 and up errors."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m loragraft.export.tokenizer.parity GGUF TOKENIZER_DIR\n")
        return 2
    try:
        report = check_token_parity(Path(arguments[0]), Path(arguments[1]))
    except LoragraftError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(report.as_json(), ensure_ascii=True) + "\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
