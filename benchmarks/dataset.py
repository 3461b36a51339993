"""Curating 200,000 generated rows: what each stage costs, and that memory does not grow.

Every stage is ``loragraft dataset curate`` as a whole process on the same rows, with a few rules
more than the stage before, so that the difference is what these rules cost. The first has no rules:
it reads, checks, writes and reports. Beside it stands a loop of Python's own ``json`` that reads
and writes the same rows, and nothing else. Memory is measured at the full size and at a tenth.

Meaning is compared by a small static embedder on fewer rows: each is compared with every other, so
that its time grows with the square of their number.

    python benchmarks/dataset.py --quick
    python benchmarks/dataset.py --json dataset.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests.support, wherever this is run

from measure import Measurement, run_measured

RECORDS, QUICK, SEMANTIC = 200_000, 5_000, 20_000
SMALLER = 10
"""The part of the rows on which memory is measured again."""
MORE_TARGET = 64 << 20
"""Bytes of memory that ten times the rows may take more: SQLite's cache of 32 MiB fills, and the
allocator keeps some of what passes through it."""
MIB = 1 << 20

_COPY = """
import json, sys
with open(sys.argv[1], encoding="utf-8") as raw, open(sys.argv[2], "w", encoding="utf-8") as out:
    for line in raw:
        out.write(json.dumps(json.loads(line), ensure_ascii=False) + "\\n")
"""
_RECORD = "record: {kind: reply, id: id, task_type: {text: reply}, prompt: post, reply: text}\n"

NUMBERS = """
- {name: likes, kind: range, field: likes, min: 5, max: 500}
- {name: followers, kind: range, field: author.followers, min: 200, max: 20000}
- {kind: flag, field: has_media, value: false}
- {kind: time_between, start: posted, stop: replied, min_seconds: 300, max_seconds: 604800}
"""
WORDS = """
- {kind: length, field: text, min: 30, max: 280}
- {kind: unique_words, field: text, min: 8}
- {kind: generic_phrases, field: text, phrases: [so true, thanks for sharing, i agree, well said]}
- {kind: keywords, field: text, words: [airdrop*, giveaway*, nft*, crypto*, presale, web3, forex]}
- {kind: urls, field: text}
"""
LANGUAGE = "- {kind: language, field: text, languages: [en], min_confidence: 0.5}\n"
AUTHORS = """
- {kind: per_author, field: author.name, max: 10}
- {kind: exact_duplicates, field: text}
"""
NEAR = "- {kind: near_duplicates, field: text}\n"
STAGES = (
    ("no rules", ""),
    ("and numbers, flags, times", NUMBERS),
    ("and words, phrases, links", WORDS),
    ("and authors, same texts", AUTHORS),
    ("and language", LANGUAGE),
    ("and near-duplicates", NEAR),
)

_NOUNS = ("lantern", "harbour", "glacier", "orchard", "violin", "compass", "meadow", "kiln", "reef",
          "satellite", "anvil", "telescope", "quarry", "beehive", "windmill", "ferry", "archive",
          "bridge", "engine", "garden", "library", "mirror", "needle", "octopus", "pendulum",
          "rocket", "saddle", "tunnel", "umbrella", "valley", "whistle", "yard")  # fmt: skip
_VERBS = ("measures", "carries", "hides", "repairs", "follows", "paints", "weighs", "answers",
          "crosses", "remembers", "opens", "counts", "lifts", "sharpens", "borrows",
          "throws")  # fmt: skip
_WHEN = ("before the frost", "while nobody looks", "as the river bends", "under a clear sky",
         "because the map was wrong", "after the bell", "until the boat comes home",
         "where three roads meet")  # fmt: skip


def make_rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows: of a hundred, some five are the same text again and some five nearly so."""
    for number in range(count):
        place = hashlib.sha256(str(number).encode()).digest()
        kind = place[0]
        same = kind < 26 and number > 100
        words = hashlib.sha256(str(number - 97 if same else number).encode()).digest()
        text = _sentence(words)
        if same and kind < 13:
            text = text.replace("so the ", "and so the ")
        yield {
            "id": f"r{number}",
            "post": f"Does the {_NOUNS[place[1] % 32]} still stand?",
            "text": "so true, well said" if kind > 250 else text,
            "likes": place[2] * 2,
            "has_media": kind == 200,
            "author": {"name": f"w{int.from_bytes(place[3:6], 'big') % 40_000}",
                       "followers": f"{place[6] * 90:,}"},
            "posted": "2024-05-01T12:00:00Z",
            "replied": 1714565100 + place[7] * 2400,
        }  # fmt: skip


def _sentence(words: bytes) -> str:
    n, v, w = _NOUNS, _VERBS, _WHEN
    return (
        f"The {n[words[0] % 32]} {v[words[1] % 16]} the {n[words[2] % 32]} {w[words[3] % 8]}, so "
        f"the {n[words[4] % 32]} {v[words[5] % 16]} a {n[words[6] % 32]} and the "
        f"{n[words[7] % 32]} {v[words[8] % 16]} it {w[words[9] % 8]}."
    )


def write_rows(path: Path, count: int) -> Path:
    """Write a raw file."""
    with path.open("w", encoding="utf-8") as file:
        for row in make_rows(count):
            file.write(json.dumps(row) + "\n")
    return path


def curate(folder: Path, raw: Path, rules: str) -> tuple[Measurement, dict[str, Any]]:
    """Curate in a process of its own; return what it took and its report."""
    listed = f"rules:\n{rules}" if rules else ""
    (folder / "rules.yaml").write_text(listed + _RECORD)
    out = folder / "clean.jsonl"
    command = [sys.executable, "-m", "loragraft", "dataset", "curate", str(folder / "rules.yaml"),
               str(raw), "-o", str(out), "--replace"]  # fmt: skip
    took = run_measured(command, folder / "log")
    return took, json.loads((folder / "clean.report.json").read_text())


def measure_stages(folder: Path, count: int) -> dict[str, Any]:
    """Measure all stages, and memory at a tenth of the rows."""
    raw = write_rows(folder / "raw.jsonl", count)
    small = write_rows(folder / "small.jsonl", count // SMALLER)
    copy = run_measured(
        [sys.executable, "-c", _COPY, str(raw), str(folder / "copy.jsonl")], folder / "log"
    )
    stages, rules = [], ""
    for name, more in STAGES:
        rules += more
        took, report = curate(folder, raw, rules)
        less, _ = curate(folder, small, rules)
        stages.append({
            "name": name, "seconds": took.wall, "cpu": took.cpu, "kept": report["kept"],
            "memory": took.peak_anonymous, "memory_small": less.peak_anonymous,
        })  # fmt: skip
    return {"records": count, "bytes": raw.stat().st_size, "copy": copy.cpu, "stages": stages}


def measure_meaning(folder: Path, count: int) -> dict[str, Any]:
    """Measure the comparison of meanings with a small static embedder."""
    from tests.support.small_index import build_static

    static = folder / "static"
    static.mkdir()
    build_static(static)
    raw = write_rows(folder / "meaning.jsonl", count)
    rule = f"- {{kind: semantic_duplicates, field: text, embedder: {static}, threshold: 0.995}}\n"
    bare, _ = curate(folder, raw, AUTHORS)
    took, report = curate(folder, raw, AUTHORS + rule)
    return {"records": count, "seconds": took.cpu - bare.cpu, "kept": report["kept"],
            "memory": took.peak_anonymous}  # fmt: skip


def judge(figures: dict[str, Any]) -> list[str]:
    """Return which targets are missed."""
    return [
        f"{stage['name']}: {(stage['memory'] - stage['memory_small']) / MIB:.0f} MiB more than for "
        f"a tenth of the rows"
        for stage in figures["stages"]["stages"]
        if stage["memory"] > stage["memory_small"] + MORE_TARGET
    ]


def show(figures: dict[str, Any]) -> None:
    """Print figures as Markdown."""
    f = figures["stages"]
    print(f"\n{f['records']:,} rows, {f['bytes'] / MIB:.0f} MiB; reading and writing them with "
          f"json: {f['copy']:.1f} s of processor time\n")  # fmt: skip
    print("| rules | rows/s | seconds | of json's | more | kept | memory | for a tenth |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    before = 0.0
    for s in f["stages"]:
        print(
            f"| {s['name']} | {f['records'] / s['cpu']:,.0f} | {s['cpu']:.1f} | "
            f"{s['cpu'] / f['copy']:.1f} | {s['cpu'] - before:.1f} | {s['kept']:,} | "
            f"{s['memory'] / MIB:.0f} MiB | {s['memory_small'] / MIB:.0f} MiB |"
        )
        before = s["cpu"]
    m = figures["meaning"]
    print(
        f"\nmeaning, {m['records']:,} rows by a small static embedder: {m['seconds']:.1f} s more, "
        f"{m['kept']:,} kept, {m['memory'] / MIB:.0f} MiB"
    )


def main() -> None:
    """Measure, print, and fail if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--quick", action="store_true", help="few rows, in a minute")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    count = QUICK if options.quick else options.records
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = {
            "stages": measure_stages(folder, count),
            "meaning": measure_meaning(folder, min(count, SEMANTIC)),
        }
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    missed = judge(figures)
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
