"""llama.cpp as the installed wheel carries it: whether it loads, and what it was built for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any

from loragraft.doctor.child import SlowChildError, ask_child
from loragraft.doctor.cpu import (
    NEEDED_FOR_SPEED,
    Cpu,
    built_features,
    parse_system_info,
    read_cpu,
)
from loragraft.doctor.gpu import Gpu, find_gpus
from loragraft.doctor.rows import Row, Surroundings, broken, fine, note, shown
from loragraft.engine.llama_library import OVERRIDE, PACKAGE, WITHOUT_TILES, library_folder
from loragraft.errors import CheckFailedError, LoragraftError

DISTRIBUTION = "llama-cpp-python"
REINSTALL = (
    "Reinstall it with: pip install --force-reinstall --no-cache-dir --no-deps llama-cpp-python "
    "(it is compiled on installation and needs a C++ compiler)"
)

TILES = "AMX_INT8"
"""An instruction set that a build does better without: see ``leave_tiles_alone``."""


def rebuild_command(switches: str, version: str = "") -> str:
    """Return the command that compiles llama-cpp-python anew on this machine.

    Args:
        switches: cmake's definitions, such as ``-DGGML_NATIVE=on``.
        version: The version to build; empty for the newest.
    """
    wanted = f"{DISTRIBUTION}=={version}" if version else DISTRIBUTION
    install = (
        f"pip install --force-reinstall --no-cache-dir --no-deps --no-binary {DISTRIBUTION} "
        f"{shlex.quote(wanted)}"
    )
    if sys.platform == "win32":
        return f'$env:CMAKE_ARGS = "{switches}"; {install}'
    return f'CMAKE_ARGS="{switches}" {install}'


def check_llama(surroundings: Surroundings) -> list[Row]:
    """Load the library in a child process; judge what it says of itself."""
    folder = library_folder()
    if folder is None:
        step = f"Install it with: pip install {DISTRIBUTION} (it needs a C++ compiler)"
        return [broken("llama.library", "not installed", "llama-cpp-python", step)]
    expected = "llama.cpp loads"
    facts = {"folder": str(folder), "package": PACKAGE}
    try:
        found = ask_child("llama", "Loading llama.cpp")
    except SlowChildError as error:
        return [note("llama.library", shown(str(error)), expected, "Run doctor again.", facts)]
    except CheckFailedError as error:
        return [broken("llama.library", shown(str(error)), expected, _repair(surroundings), facts)]
    cpu = _cpu()
    info = parse_system_info(str(found["system_info"]))
    row = fine(
        "llama.library",
        f"llama-cpp-python {found['version']}, {shown(found['ggml'])}",
        expected,
        facts={**facts, **found},
    )
    return [row, judge_build(cpu, info, found["version"]), judge_gpus(find_gpus(), found)]


def _repair(surroundings: Surroundings) -> str:
    given = surroundings.environ.get(OVERRIDE)
    if given:
        return f"{OVERRIDE} sends it to {shown(given)}: unset it. Else: {REINSTALL}"
    return f"{REINSTALL}."


def _cpu() -> Cpu:
    try:
        return read_cpu()
    except (OSError, LoragraftError):
        return Cpu("", None)


def judge_build(cpu: Cpu, info: Mapping[str, Mapping[str, str]], version: str) -> Row:
    """Compare the instruction sets that a build uses with those of the processor."""
    built = built_features(info)
    words = ", ".join(sorted(built)) or "no instruction sets beyond the plain ones"
    facts: dict[str, Any] = {"build": {name: dict(part) for name, part in info.items()}}
    expected = "built for this processor"
    native = rebuild_command(_native(built | (cpu.features or frozenset())), version)
    tiles = note(
        "llama.build",
        "built with AMX tiles, by which llama.cpp crashes as some compilers build it: they are "
        "left alone, and with them the repacked weights that make reading faster",
        expected,
        f"Build it without: {native}",
        facts,
    )
    if cpu.features is None:
        if TILES in built:
            return tiles
        return fine("llama.build", f"built with {words}", expected, facts=facts)
    lacking, unused = built - cpu.features, cpu.features - built - {TILES}
    facts |= {"missing_in_processor": sorted(lacking), "unused": sorted(unused)}
    if lacking:
        return broken(
            "llama.build",
            f"built with {', '.join(sorted(lacking))}, which this processor does not have: it "
            "will crash (illegal instruction)",
            expected,
            f"Build it on this machine: {native}",
            facts,
        )
    if TILES in built:
        return tiles
    if unused & NEEDED_FOR_SPEED:
        return note(
            "llama.build",
            f"built without {', '.join(sorted(unused))}, which this processor has: generating "
            "takes several times as long as it could",
            expected,
            f"Build it on this machine: {native}",
            facts,
        )
    hint = ""
    if unused:
        hint = f"It does not use {', '.join(sorted(unused))}; a build on this machine may: {native}"
    return fine("llama.build", f"built with {words}", expected, hint, facts)


def _native(features: frozenset[str]) -> str:
    """Return cmake's definitions for a build that uses this processor, AMX tiles excepted."""
    native = "-DGGML_NATIVE=on"
    if TILES not in features:
        return native
    return f"{native} -DCMAKE_C_FLAGS={WITHOUT_TILES} -DCMAKE_CXX_FLAGS={WITHOUT_TILES}"


def judge_gpus(gpus: tuple[Gpu, ...], found: Mapping[str, Any]) -> Row:
    """Say whether a GPU lies idle because the build knows only the processor."""
    devices = [f"{device['name']} ({shown(device['about'])})" for device in found["devices"]]
    facts = {"gpus": [gpu.name for gpu in gpus], "devices": list(found["devices"])}
    expected = "every GPU of this machine used"
    if not gpus:
        return fine("llama.gpu", "no GPU seen; llama.cpp runs on the processor", expected,
                    facts=facts)  # fmt: skip
    names = ", ".join(shown(gpu.name) for gpu in gpus)
    if found["gpu_offload"]:
        seen = ", ".join(devices) or "no device"
        return fine("llama.gpu", f"{names}; llama.cpp sees {seen}", expected, facts=facts)
    first = gpus[0]
    command = rebuild_command(f"-D{first.switch}=on", str(found["version"]))
    return note(
        "llama.gpu",
        f"{names}; but llama.cpp was built for the processor alone",
        expected,
        f"Build it for the GPU, which needs {first.needs}: {command}",
        facts,
    )
