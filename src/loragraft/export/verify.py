"""``export verify``: is a bundle whole, sound, loadable, and what it claims to be?"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.artifact.checksums import CHECKSUMS_NAME, check_checksums
from loragraft.artifact.metadata import METADATA_NAME, read_metadata
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import BundleError, CheckFailedError
from loragraft.export.carried import VOCABULARY_FILES, tokenizer_owner
from loragraft.export.effect import SEED, measure_effect
from loragraft.export.effect_gates import effect_gates
from loragraft.export.gates import Gate, GateResult, run_gates
from loragraft.export.load_check import LoadReport, load_check, load_gate
from loragraft.export.quantize.ggml import load_ggml

MODELFILE_NAME = "Modelfile"
CARD_NAME = "README.md"
ROWS_VALIDATED = 64
"""Rows of each tensor that ggml checks: a broken scale usually spoils a whole stretch."""
NEEDED_KEYS = ("general.architecture", "general.file_type", "tokenizer.ggml.model",
               "tokenizer.ggml.tokens")  # fmt: skip
NEEDED_METADATA = ("kind", "name", "files", "gates")
_AGAIN = "Fetch the bundle again from its source, or export it again."


@dataclass(frozen=True)
class VerifyReport:
    """What was checked of a bundle.

    Attributes:
        bundle: The folder.
        gates: Every result; names carry the file where there are several.
    """

    bundle: Path
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return not any(gate.blocks for gate in self.gates)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        gates = [gate.to_json() for gate in self.gates]
        return {"bundle": str(self.bundle), "passed": self.passed, "gates": gates}


def verify_bundle(
    bundle: Path,
    *,
    base: Path | None = None,
    adapters: Sequence[tuple[Path, float]] = (),
    full: bool = False,
    on_bytes: Callable[[int], object] | None = None,
) -> VerifyReport:
    """Check a bundle: files, GGUF, loading, and against base and adapters where given.

    Args:
        bundle: The folder.
        base: The base checkpoint's folder; adds the residual, and with adapters k.
        adapters: Each adapter's path and scale.
        full: Also compare with the merged model in transformers (needs a base).
        on_bytes: Called with the number of bytes of each block hashed.

    Returns:
        Every gate's result; a broken bundle is a failed gate, not an exception. What the
        adapters decide is skipped where the bundle's metadata name some and none is given.

    Raises:
        BundleError: If there is no such folder.
        UnavailableError: If a part that a gate needs is missing.
    """
    if not bundle.is_dir():
        raise BundleError(f"{bundle} is not a folder. Give a bundle's folder.")
    gates: list[tuple[str, Gate]] = [
        ("checksums", lambda: checksums_gate(bundle, on_bytes)),
        ("structure", lambda: structure_gate(bundle)),
    ]
    models = sorted(bundle.glob("*.gguf"))
    absent = () if adapters or base is None else recorded_adapters(bundle)
    if base is None or not (base / "config.json").is_file() or _own_tokenizer(absent):
        tokenizer: Path | None = None
    else:
        tokenizer = tokenizer_folder(base, adapters)
    for path in models:
        end = f":{path.name}" if len(models) > 1 else ""
        checks = _file_gates(path, base, adapters, tokenizer, full, absent)
        gates += [(name + end, _renamed(end, gate)) for name, gate in checks]
    return VerifyReport(bundle, run_gates(gates))


def recorded_adapters(bundle: Path) -> tuple[Mapping[str, Any], ...]:
    """Return what a bundle's metadata say about the adapters merged into it."""
    try:
        listed = read_metadata(bundle).get("adapters")
    except BundleError:
        return ()
    items = listed if isinstance(listed, list) else ()
    return tuple(item for item in items if isinstance(item, dict))


def _own_tokenizer(recorded: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the recorded adapters brought a tokenizer."""
    files = [item.get("files") for item in recorded]
    return any(isinstance(f, dict) and any(name in f for name in VOCABULARY_FILES) for f in files)


def _skipped(absent: Sequence[Mapping[str, Any]], full: bool) -> list[GateResult]:
    """Say what was not measured: with the base alone the adapters' change would count as damage."""
    names = ", ".join(str(item.get("name")) for item in absent)
    measured = f"merged with {names}, and no adapter is given to compare with"
    expected, step = "base and adapters together", f"Give the adapters: --adapter {names}."
    skipped = ["residual", *["tokenizer"] * _own_tokenizer(absent), *["divergence"] * full]
    return [GateResult(name, "skipped", measured, expected, step) for name in skipped]


def _file_gates(
    path: Path,
    base: Path | None,
    adapters: Sequence[tuple[Path, float]],
    tokenizer: Path | None,
    full: bool,
    absent: Sequence[Mapping[str, Any]],
) -> list[tuple[str, Gate]]:
    gates: list[tuple[str, Gate]] = [
        ("gguf", lambda: gguf_gate(path)),
        ("load", lambda: _load_gates(path, tokenizer)),
    ]
    if absent:
        return [*gates, ("residual", lambda: _skipped(absent, full))]
    if base is not None:
        gates.append(("effect", lambda: _base_gates(path, base, adapters)))
    if base is not None and full:
        gates.append(("divergence", lambda: _full_gate(path, base, adapters)))
    return gates


def _renamed(end: str, gate: Callable[[], GateResult | Sequence[GateResult]]) -> Gate:
    """Let a gate's results carry the file's name."""

    def run() -> Sequence[GateResult]:
        found = gate()
        results = [found] if isinstance(found, GateResult) else found
        return [replace(result, name=result.name + end) for result in results]

    return run


def tokenizer_folder(base: Path, adapters: Sequence[tuple[Path, float]]) -> Path:
    """Return the folder whose tokenizer counts: the last adapter's that has one, or the base's."""
    from loragraft.adapter.locate import locate_adapter

    return tokenizer_owner([locate_adapter(path).folder for path, _ in adapters], base)


def checksums_gate(bundle: Path, on_bytes: Callable[[int], object] | None = None) -> GateResult:
    """Compare every file with ``checksums.txt``."""
    problems = check_checksums(bundle, on_bytes)
    expected = f"every file as {CHECKSUMS_NAME} says"
    if not problems:
        return GateResult("checksums", "pass", "all files are as listed", expected)
    measured = " ".join(problem.message for problem in problems[:4])
    if len(problems) > 4:
        measured += f" ({len(problems)} problems in all)"
    return GateResult("checksums", "fail", measured, expected, _AGAIN)


def modelfile_source(text: str) -> str | None:
    """Return what a Modelfile's FROM names, or None if it has none."""
    for line in text.splitlines():
        words = line.strip().split(maxsplit=1)
        if len(words) == 2 and words[0].upper() == "FROM":
            return words[1].strip().strip('"')
    return None


def structure_gate(bundle: Path) -> GateResult:
    """Check that the bundle has its parts and that they point at each other."""
    expected = "GGUF, Modelfile, metadata, model card and checksums that fit together"
    problems: list[str] = []
    models = {path.name for path in bundle.glob("*.gguf")}
    if not models:
        problems.append("there is no .gguf file")
    problems += [
        f"{name} is missing"
        for name in (MODELFILE_NAME, METADATA_NAME, CARD_NAME, CHECKSUMS_NAME)
        if not (bundle / name).is_file()
    ]
    problems += _modelfile_problems(bundle, models)
    problems += _metadata_problems(bundle, models)
    if not problems:
        return GateResult("structure", "pass", f"{len(models)} GGUF and all parts", expected)
    return GateResult("structure", "fail", "; ".join(problems), expected, _AGAIN)


def _modelfile_problems(bundle: Path, models: set[str]) -> list[str]:
    path = bundle / MODELFILE_NAME
    if not path.is_file():
        return []
    try:
        source = modelfile_source(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return [f"{MODELFILE_NAME} is not UTF-8 text"]
    if source is None:
        return [f"{MODELFILE_NAME} has no FROM"]
    if source.removeprefix("./") not in models:
        return [f"{MODELFILE_NAME} is FROM {source}, which is no GGUF file of this bundle"]
    return []


def _metadata_problems(bundle: Path, models: set[str]) -> list[str]:
    if not (bundle / METADATA_NAME).is_file():
        return []
    try:
        metadata = read_metadata(bundle)
    except BundleError as error:
        return [str(error)]
    problems = [f"{METADATA_NAME} lacks {key!r}" for key in NEEDED_METADATA if key not in metadata]
    files, gates = (metadata.get(key, []) for key in ("files", "gates"))
    if not isinstance(files, list) or not isinstance(gates, list):
        return [*problems, f"{METADATA_NAME} has 'files' or 'gates' that are no list"]
    names = {str(item.get("name")) for item in files if isinstance(item, dict)}
    problems += [f"{METADATA_NAME} names {n}, which is gone" for n in sorted(names - models)]
    problems += [f"{METADATA_NAME} does not name {n}" for n in sorted(models - names)]
    for gate in gates:
        if isinstance(gate, dict) and gate.get("verdict") == "fail":
            problems.append(f"the gate {gate.get('name')} failed when it was exported")
    return problems


def gguf_gate(path: Path) -> GateResult:
    """Check header, tensor placement and, by ggml, sampled rows of every tensor."""
    expected = "a sound header, every tensor inside the file, valid rows"
    with GgufFile(path) as file:
        missing = [key for key in NEEDED_KEYS if key not in file.keys]
        bad = [name for name in file.tensors if not rows_valid(file, name)]
        count, types = len(file.tensors), sorted({t.type_name for t in file.tensors.values()})
    if missing:
        measured = f"metadata lacks {', '.join(missing)}"
        return GateResult("gguf", "fail", measured, expected, _AGAIN)
    if bad:
        measured = f"{len(bad)} tensors hold invalid values: {', '.join(bad[:4])}"
        return GateResult("gguf", "fail", measured, expected, _AGAIN)
    measured = f"{count} tensors ({', '.join(types)}), {path.stat().st_size:,} bytes"
    return GateResult("gguf", "pass", measured, expected)


def rows_valid(file: GgufFile, name: str) -> bool:
    """Let ggml check seeded sample rows of a tensor for NaN, Inf and broken scales."""
    tensor = file.tensor(name)
    count = min(ROWS_VALIDATED, tensor.rows)
    generator = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    rows = np.sort(generator.choice(tensor.rows, count, replace=False)).astype(np.intp)
    if tensor.type_name in ("F32", "F16", "BF16"):
        return bool(np.isfinite(file.rows(name, rows)).all())
    return load_ggml().validate(tensor.qtype, file.raw_rows(name, rows))


def _load_gates(path: Path, tokenizer: Path | None) -> list[GateResult]:
    report = load_check(path, tokenizer=tokenizer)
    return [load_gate(report), *parity_gates(report)]


def parity_gates(report: LoadReport) -> list[GateResult]:
    """Judge the token ids that the child compared, if it was asked to."""
    parity = report.parity
    if parity is None:
        return []
    expected = "the token ids of the Hugging Face tokenizer on every text"
    cases, failures = parity.get("cases", 0), parity.get("mismatches") or []
    if parity.get("error"):
        step = "Make the comparison possible as the message says, and run the command again."
        return [GateResult("tokenizer", "fail", str(parity["error"]), expected, step)]
    if parity.get("passed"):
        known = ", ".join(parity.get("known_differences") or {})
        measured = f"{cases} texts alike" + (
            f" apart from known differences ({known})" * bool(known)
        )
        return [GateResult("tokenizer", "pass", measured, expected, "", parity)]
    count = parity.get("mismatch_count", len(failures))
    example = f", for instance {failures[0].get('text')!r}" if failures else ""
    measured = f"{count} of {cases} texts differ{example}"
    step = "The tokenizer was not carried over exactly. Report this model."
    return [GateResult("tokenizer", "fail", measured, expected, step, parity)]


def _base_gates(
    path: Path, base: Path, adapters: Sequence[tuple[Path, float]]
) -> Sequence[GateResult]:
    from loragraft.export.prepare import lay_out, open_base
    from loragraft.export.targets import effect_targets

    with ExitStack() as stack:
        layout = lay_out(open_base(base, stack), adapters, ("F32",), stack)
        targets = effect_targets(layout.stream_input("fp32"), changed_only=bool(adapters))
        precision = _recorded_precision(path.parent)
        gates: Sequence[GateResult] = effect_gates(measure_effect(path, targets), precision)
    if precision == "reference":  # which a bundle may claim to get off lightly
        note = "; judged as --precision reference, with wider limits, as the bundle's metadata say"
        gates = [replace(gate, measured=gate.measured + note) for gate in gates]
    return gates if adapters else gates[1:]


def _recorded_precision(bundle: Path) -> Any:  # noqa: ANN401 - "fp32" or "reference"
    try:
        found = read_metadata(bundle).get("precision")
    except BundleError:
        found = None
    return "reference" if found == "reference" else "fp32"


def _full_gate(path: Path, base: Path, adapters: Sequence[tuple[Path, float]]) -> GateResult:
    from loragraft.export.divergence import divergence_gate, measure_divergence

    folder = tokenizer_folder(base, adapters)
    return divergence_gate(measure_divergence(path, base, adapters, tokenizer=folder))


def require_verified(report: VerifyReport) -> None:
    """Raise unless a bundle passed.

    Raises:
        CheckFailedError: Naming the failed gates.
    """
    failed = [gate for gate in report.gates if gate.blocks]
    if failed:
        lines = "; ".join(f"{gate.name}: {gate.measured}" for gate in failed)
        raise CheckFailedError(f"{report.bundle} failed {len(failed)} gates: {lines}")
