"""Build SmolLM2-135M-Instruct as a Hugging Face checkpoint, without the Hugging Face Hub.

    python scripts/build_smollm2.py            # prints the folder
    python scripts/build_smollm2.py --check    # also hashes an existing folder's weights

It is what ``loragraft demo`` builds, and says how: see ``loragraft.demo.smollm2``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loragraft.demo.smollm2 import build
from loragraft.errors import LoragraftError


def main() -> int:
    """Build or find the checkpoint and print its folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--cache", type=Path, help="folder of large artefacts")
    parser.add_argument("--check", action="store_true", help="hash the weights of a finished one")
    arguments = parser.parse_args()
    try:
        print(build(arguments.cache, check=arguments.check))
    except (LoragraftError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
