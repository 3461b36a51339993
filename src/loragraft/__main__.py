"""``python -m loragraft``."""

from __future__ import annotations

from loragraft.cli.main import main

if __name__ == "__main__":
    main(prog_name="loragraft")
