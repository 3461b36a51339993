"""``loragraft export``: from a base and adapters to a checked bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loragraft.checkpoint.resolve import Resolved
    from loragraft.export.plan import ExportPlan
    from loragraft.export.request import ExportReport, ExportRequest

PATH = click.Path(path_type=Path)


@click.group()
def export() -> None:
    """Merge, convert, quantize and check a model."""


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:  # noqa: ANN401 - a decorator
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
_ADAPTER = click.option(
    "--adapter", "more", multiple=True, metavar="PATH", help="A further adapter; may be repeated."
)
_SCALE = click.option(
    "--scale", "scales", multiple=True, type=float,
    help="Factor on an adapter's own scale, one for each adapter in order. [default: 1]",
)  # fmt: skip
_INPUTS = _options(
    click.argument("inputs", nargs=-1, required=True, metavar="[BASE] [ADAPTER]..."),
    _ADAPTER,
    _SCALE,
)
_TARGET = _options(
    click.option("-o", "--output", "outputs", type=PATH, default=Path("outputs/exports"),
                 show_default=True, help="Folder that bundles go into."),
    click.option("--name", help="Name of the bundle. [default: from base and adapter]"),
    click.option("--quant", "quants", multiple=True, default=("Q4_K_M",), show_default=True,
                 help="A llama.cpp mix (Q4_K_M, Q8_0, F16, ...); may be repeated."),
    click.option("--engine", type=click.Choice(["auto", "stream", "peft"]), default="auto",
                 show_default=True, help="What merges: row blocks in one pass, or PEFT."),
    click.option("--precision", type=click.Choice(["fp32", "reference"]), default="fp32",
                 show_default=True,
                 help="Add the delta in float32, or round to bfloat16 as PEFT does."),
)  # fmt: skip


def _is_adapter(text: str) -> bool:
    from loragraft.adapter.locate import locate_adapter
    from loragraft.checkpoint.resolve import existing_path
    from loragraft.errors import AdapterError, UnsupportedError

    path = existing_path(text)
    if path is None or (path / "config.json").exists():
        return False
    try:
        locate_adapter(path)
    except AdapterError:
        return False
    except UnsupportedError:  # one in a form that is not read: said where it is opened
        return True
    return True


def _scaled(paths: Sequence[Path], scales: Sequence[float]) -> tuple[tuple[Path, float], ...]:
    if scales and len(scales) != len(paths):
        raise click.UsageError(
            f"{len(scales)} --scale for {len(paths)} adapters: give one for each, or none."
        )
    return tuple(zip(paths, scales or [1.0] * len(paths), strict=True))


def _resolve(
    inputs: Sequence[str], more: Sequence[str], scales: Sequence[float]
) -> tuple[Resolved, tuple[tuple[Path, float], ...], list[str]]:
    """Find the base and the adapters that a command line names."""
    from loragraft.adapter.reader import open_adapter
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint, resolve_claim

    names = list(inputs)
    base_name = None if _is_adapter(names[0]) else names.pop(0)
    found = [resolve_adapter(text) for text in [*names, *more]]
    adapters = _scaled([item.folder for item in found], scales)
    if base_name is not None:
        base = resolve_checkpoint(base_name)
    else:
        with open_adapter(adapters[0][0]) as adapter:
            claim, revision = adapter.config.base_model_name_or_path, adapter.config.revision
        base = resolve_claim(claim, adapters[0][0], revision)
    notes = [note for item in [base, *found] for note in item.notes]
    return base, adapters, notes


def _default_name(base: Resolved, adapters: Sequence[tuple[Path, float]]) -> str:
    from loragraft.artifact.names import suggest_name

    stem = (base.repository or str(base.folder.resolve())).rstrip("/").rpartition("/")[2]
    folders = [path.parent if path.is_file() else path for path, _ in adapters]
    return suggest_name("-".join([stem, *(folder.resolve().name for folder in folders)]))


def _request(
    inputs: Sequence[str],
    more: Sequence[str],
    scales: Sequence[float],
    outputs: Path,
    name: str | None,
    quants: Sequence[str],
    engine: str,
    precision: str,
    **options: Any,  # noqa: ANN401 - fields of the request
) -> ExportRequest:
    from loragraft.export.mix import find_mix
    from loragraft.export.request import ExportRequest

    mixes = tuple(find_mix(quant).name for quant in quants)
    base, adapters, notes = _resolve(inputs, more, scales)
    return ExportRequest(
        base=base.folder,
        adapters=adapters,
        outputs=outputs,
        name=name or _default_name(base, adapters),
        quants=mixes,
        engine=cast(Literal["auto", "stream", "peft"], engine),
        precision=cast(Literal["fp32", "reference"], precision),
        base_id=base.repository,
        notes=tuple(notes),
        **options,
    )


@export.command("merge-and-quantize")
@_INPUTS
@_TARGET
@click.option(
    "--verify",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="Gates; full adds the divergence from the merged model.",
)
@click.option("--prove", is_flag=True, help="Compare a sample of modules with PEFT's own merge.")
@click.option("--allow", multiple=True, metavar="GATE", help="Publish though this gate fails.")
@click.option("--replace", is_flag=True, help="Swap an existing bundle of that name.")
@click.option(
    "--converter",
    type=PATH,
    metavar="SCRIPT",
    help="llama.cpp's convert_hf_to_gguf.py, for other architectures.",
)
@click.option(
    "--kernel",
    type=click.Choice(["auto", "numba", "ggml"]),
    default="auto",
    show_default=True,
    help="K-quant encoder; all give the same bytes.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    help="Encoding threads. [default: all cores]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be made (export plan).")
@_JSON
def merge_and_quantize(
    inputs: tuple[str, ...],
    more: tuple[str, ...],
    scales: tuple[float, ...],
    outputs: Path,
    name: str | None,
    quants: tuple[str, ...],
    engine: str,
    precision: str,
    allow: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - passed on to the request
) -> None:
    """Merge adapters into BASE, quantize, check, and publish a bundle.

    BASE is a checkpoint folder or a Hub repository; without it the first ADAPTER's own claim is
    taken. Without an ADAPTER the base alone is converted and quantized.
    """  # fmt: skip
    from loragraft.cli.progress import make_progress
    from loragraft.export.job import run_export
    from loragraft.export.plan import plan_export

    request = _request(inputs, more, scales, outputs, name, quants, engine, precision,
                       allow=frozenset(allow), **options)  # fmt: skip
    if dry_run:
        _print_plan(plan_export(request), as_json)
        return
    progress = make_progress()
    try:
        report = run_export(request, progress)
    finally:
        progress.end()
    _print_report(report, as_json)


def _print_report(report: ExportReport, as_json: bool) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_gates, print_json, print_table, print_warnings

    value = report.to_json()
    if as_json:
        print_json(value)
        return
    print_warnings(value["warnings"])
    rows = [
        [f["name"], format_bytes(f["bytes"]), f"{f['bits_per_weight']:.2f}",
         ", ".join(f"{count} {kind}" for kind, count in f["tensors_per_type"].items())]
        for f in value["files"]
    ]  # fmt: skip
    print_table("Files", ["file", "size", "bits/weight", "tensors"], rows)
    for file in value["files"]:
        for reason, count in file["fallbacks"].items():
            click.echo(f"{file['quant']}: {count} tensors, {reason}")
    print_gates(value["gates"])
    seconds = sum(value["seconds"].values())
    click.echo(
        f"Engine {value['engine']} ({value['engine_reason']}), {seconds:.1f} s, "
        f"{format_bytes(value['peak_anonymous_bytes'])} of memory at most."
    )
    for kind, kernel in value["kernels"].items():
        click.echo(f"  {kind}: {kernel}")
    click.echo(f"Bundle: {value['bundle']}")


@export.command()
@_INPUTS
@_TARGET
@_JSON
def plan(
    inputs: tuple[str, ...],
    more: tuple[str, ...],
    scales: tuple[float, ...],
    outputs: Path,
    name: str | None,
    quants: tuple[str, ...],
    engine: str,
    precision: str,
    as_json: bool,
) -> None:
    """Say what an export would make and need; nothing is merged or written."""
    from loragraft.export.plan import plan_export

    request = _request(inputs, more, scales, outputs, name, quants, engine, precision)
    _print_plan(plan_export(request), as_json)


def _print_plan(found: ExportPlan, as_json: bool) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_json, print_table, print_warnings

    value = found.to_json()
    if as_json:
        print_json(value)
        return
    print_warnings(value["warnings"])
    for file in value["files"]:
        rows = [
            [t["name"], "x".join(map(str, t["shape"])), t["type"], format_bytes(t["bytes"]),
             "merged" if t["changed"] else "", t["reason"] or ""]
            for t in file["tensors"]
        ]  # fmt: skip
        columns = ["tensor", "shape", "type", "size", "adapter", "why not as wanted"]
        print_table(file["name"], columns, rows)
        click.echo(
            f"{file['name']}: {format_bytes(file['bytes'])}, {file['bits_per_weight']:.2f} bits "
            f"per weight (nominal {file['nominal_bits_per_weight']:.2f})"
        )
    click.echo(f"Engine {value['engine']}: {value['engine_reason']}")
    for what in ("disk", "memory"):
        needed, free = value[f"{what}_needed_bytes"], value[f"{what}_free_bytes"]
        enough = "" if needed <= free else " - NOT ENOUGH"
        click.echo(f"{what}: {format_bytes(needed)} needed, {format_bytes(free)} free{enough}")


@export.command()
@_INPUTS
@click.option("-o", "--output", "out", type=PATH, required=True, help="The checkpoint's folder.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Type of the merged weights.",
)
@click.option("--replace", is_flag=True, help="Swap an existing folder of that name.")
@_JSON
def merge(
    inputs: tuple[str, ...],
    more: tuple[str, ...],
    scales: tuple[float, ...],
    out: Path,
    dtype: str,
    replace: bool,
    as_json: bool,
) -> None:
    """Merge adapters into a Hugging Face checkpoint by PEFT, for vLLM and transformers."""
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.cli.progress import make_progress
    from loragraft.export.merge import merge_checkpoint

    base, adapters, notes = _resolve(inputs, more, scales)
    progress = make_progress()
    try:
        report = merge_checkpoint(
            base.folder, adapters, out, dtype=dtype, replace=replace, progress=progress
        )
    finally:
        progress.end()
    if as_json:
        print_json(report.to_json())
        return
    print_warnings([*notes, *report.notes])
    click.echo(f"Merged {report.parameters:,} parameters as {report.dtype}: {report.folder}")


@export.command("lora-gguf")
@click.argument("inputs", nargs=-1, required=True, metavar="[BASE] ADAPTER")
@click.option("-o", "--output", "out", type=PATH, required=True, help="The GGUF file.")
@click.option(
    "--scale", type=float, default=1.0, show_default=True, help="Factor on the adapter's own scale."
)
@click.option("--dtype", type=click.Choice(["f32", "f16"]), default="f32", show_default=True)
@click.option("--replace", is_flag=True, help="Swap an existing file.")
@_JSON
def lora_gguf(
    inputs: tuple[str, ...], out: Path, scale: float, dtype: str, replace: bool, as_json: bool
) -> None:
    """Write an adapter as a GGUF LoRA, which llama.cpp applies at run time."""
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.export.lora_gguf import export_lora_gguf

    base, adapters, notes = _resolve(inputs, (), ())
    if len(adapters) != 1:
        raise click.UsageError("Give a base and one adapter.")
    report = export_lora_gguf(
        base.folder, adapters[0][0], out, scale=scale,
        dtype=cast(Literal["f32", "f16"], dtype), replace_existing=replace,
    )  # fmt: skip
    if as_json:
        print_json({**vars(report)})
        return
    print_warnings([*notes, *report.notes])
    click.echo(f"{report.modules} modules, alpha {report.alpha:g}: {report.path}")


@export.command()
@click.argument("bundle", type=PATH)
@click.option(
    "--base",
    help="The base checkpoint: adds the residual, and k with the adapters, which a "
    "merged bundle needs.",
)
@click.option("--adapter", "adapters", multiple=True, help="An adapter; may be repeated.")
@_SCALE
@click.option("--full", is_flag=True, help="Compare with the merged model in transformers.")
@_JSON
def verify(
    bundle: Path,
    base: str | None,
    adapters: tuple[str, ...],
    scales: tuple[float, ...],
    full: bool,
    as_json: bool,
) -> None:
    """Check a bundle: checksums, structure, loading, and what of the adapter is in it."""
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.cli.output import print_gates, print_json
    from loragraft.export.verify import verify_bundle

    if base is None and (adapters or full):
        raise click.UsageError("--adapter and --full need --base.")
    found = _scaled([resolve_adapter(text).folder for text in adapters], scales)
    report = verify_bundle(
        bundle, base=resolve_checkpoint(base).folder if base else None, adapters=found, full=full
    )
    if as_json:
        print_json(report.to_json())
    else:
        print_gates(report.to_json()["gates"])
        click.echo(f"{bundle}: {'verified' if report.passed else 'NOT as it should be'}")
    if not report.passed:
        sys.exit(1)


@export.command()
@click.argument("bundle", type=PATH)
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--revision", help="Branch to commit to.")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead of committing.")
@click.option("--dry-run", is_flag=True, help="Check everything and send nothing.")
@_JSON
def push(
    bundle: Path,
    repository: str,
    private: bool,
    revision: str | None,
    create_pr: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Upload a bundle to the Hugging Face Hub, after checking its checksums."""
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_json
    from loragraft.export.push import push_bundle

    report = push_bundle(
        bundle, repository, private=private, revision=revision, create_pr=create_pr,
        dry_run=dry_run,
    )  # fmt: skip
    if as_json:
        print_json(report.to_json())
        return
    for file_name, size in report.files:
        click.echo(f"  {file_name}  {format_bytes(size)}")
    click.echo(f"{'Would send' if dry_run else 'Sent'} to {report.url or repository}")
