"""Write the example collection of papers and questions, ``examples/science``.

    python scripts/generate_science.py           # writes
    python scripts/generate_science.py --check   # fails where a file differs

The same bytes come out on every Python and platform. All that the papers say is invented.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "examples" / "science"


def files() -> Mapping[str, str]:
    """Return the files' contents by name."""
    sys.path.insert(0, str(ROOT))
    from scripts.science.checks import problems
    from scripts.science.choose import Choice
    from scripts.science.collection import SEED, as_lines, make_collection
    from scripts.science.drafts import make_drafts

    collection = make_collection()
    if found := problems(collection):
        raise SystemExit("\n".join(found))
    return {
        "papers.jsonl": as_lines(paper.record() for paper in collection.papers),
        "drafts.jsonl": as_lines(make_drafts(collection, Choice((f"drafts {SEED}",)))),
        "tasks.jsonl": as_lines(collection.tasks),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("-o", "--output", type=Path, default=TARGET, help="another folder")
    options = parser.parse_args(arguments)
    wrong = 0
    for name, text in files().items():
        path = options.output / name
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8"))
        elif not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            print(f"{path} is not what its seed gives.", file=sys.stderr)
            wrong = 1
    if wrong:
        print("Run: python scripts/generate_science.py", file=sys.stderr)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
