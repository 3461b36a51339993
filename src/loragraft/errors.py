"""Every error that loragraft raises on purpose.

A message says what was found, what was expected and what to do next. Anything that is not in
this tree is a bug and keeps its traceback.

```
LoragraftError                     exit code
├── InputError                     2   the command or its input is unusable
│   ├── CheckpointError            2   a base checkpoint is missing, broken or unfit
│   ├── AdapterError               2   an adapter is missing, broken or unfit
│   ├── TokenizerError             2   a tokenizer cannot be carried over exactly
│   ├── TemplateError              2   a chat template cannot be read
│   ├── UnsupportedError           2   an architecture or adapter type we do not take
│   ├── BundleError                2   a bundle is broken, or its name is taken
│   └── NonFiniteError             2   NaN, Inf or overflow among the weights
├── CheckFailedError               1   a gate or a check says no
└── UnavailableError               3   a part outside loragraft is not there
    ├── MissingExtraError          3   a package of an optional extra
    ├── LockedError                3   another process holds the same output
    ├── OutOfSpaceError            3   the disk is, or would be, full
    └── OutOfMemoryError           3   the machine has too little memory for this way
```
"""

from __future__ import annotations


class LoragraftError(Exception):
    """Base of all errors that loragraft raises on purpose."""

    exit_code = 2


class InputError(LoragraftError):
    """The command or its input is unusable."""


class CheckpointError(InputError):
    """A base checkpoint is missing, broken or unfit."""


class AdapterError(InputError):
    """An adapter is missing, broken or unfit."""


class TokenizerError(InputError):
    """A tokenizer cannot be carried over exactly."""


class TemplateError(InputError):
    """A chat template cannot be read."""


class UnsupportedError(InputError):
    """An architecture, an adapter type or a format that loragraft does not take."""


class BundleError(InputError):
    """A bundle is broken, or its name is taken."""


class NonFiniteError(InputError):
    """NaN, Inf or an overflow among the weights."""


class CheckFailedError(LoragraftError):
    """A gate or a check says no."""

    exit_code = 1


class UnavailableError(LoragraftError):
    """A part outside loragraft is not there."""

    exit_code = 3


class MissingExtraError(UnavailableError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Say which package is missing, for what, and the one command that installs it."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "loragraft[{extra}]"'
        )


class LockedError(UnavailableError):
    """Another process holds the same output."""


class OutOfSpaceError(UnavailableError):
    """The disk is full, or would be."""


class OutOfMemoryError(UnavailableError):
    """The machine has too little memory for this way."""
