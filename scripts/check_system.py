"""Say whether this machine can install loragraft: Python 3.10 or newer and a C++ compiler.

llama-cpp-python is on PyPI as source only and is compiled on installation. Runs on any Python 3
and needs nothing installed.
"""

import os
import shutil
import sys

OLDEST = (3, 10)
COMPILERS = ("c++", "g++", "clang++", "cl")
ADVICE = """\
No C++ compiler was found (looked for $CXX, c++, g++, clang++ and cl). llama-cpp-python is
compiled on installation and needs one. Get it with:
  Debian, Ubuntu   sudo apt install build-essential
  Fedora           sudo dnf install gcc-c++ make
  macOS            xcode-select --install
  Windows          winget install Microsoft.VisualStudio.2022.BuildTools --override \
"--add Microsoft.VisualStudio.Workload.VCTools --passive"
Then run the command again (on Windows from the "x64 Native Tools" prompt)."""


def problems() -> "list[str]":
    """Return what is missing, in words."""
    found = []
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        found.append(
            f"Python {oldest} or newer is needed; this is {sys.version.split()[0]}. "
            "Name another one, for example: make PYTHON=python3.12 demo"
        )
    chosen = os.environ.get("CXX", "").split()
    if not any(shutil.which(name) for name in chosen[:1] + list(COMPILERS)):
        found.append(ADVICE)
    return found


if __name__ == "__main__":
    missing = problems()
    for problem in missing:
        print(problem, file=sys.stderr)
    sys.exit(1 if missing else 0)
