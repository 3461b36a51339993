"""Names of bundles: one path segment that every system takes."""

from __future__ import annotations

import re

from loragraft.errors import InputError

# Most file systems take 255 bytes; the hidden companions (".NAME.lock.owner") and the files
# inside ("NAME.Q4_K_M.gguf") need some of them.
_MAX_BYTES = 200
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    r"""Check a bundle's name.

    Returns:
        The name itself.

    Raises:
        InputError: If it is empty, too long, starts with ``.`` or ``-``, ends with ``.`` or a
            space, holds one of ``/ \ < > : " | ? *`` or a control character, or is reserved.
    """
    problem = _find_problem(name)
    if problem is not None:
        raise InputError(
            f"The name {name!r} {problem}. Give one plain name such as 'science-lora' with "
            "--name; folders go to --output."
        )
    return name


def _find_problem(name: str) -> str | None:
    if not name:
        return "is empty"
    if name[0] in ".-":
        return f"starts with {name[0]!r}"
    if name[-1] in ". " or name[0] == " ":
        return "starts or ends with a space, or ends with a dot"
    if found := _FORBIDDEN.search(name):
        return f"holds {found[0]!r}"
    if _RESERVED.fullmatch(name):
        return "is reserved on Windows"
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:  # it goes into the file, whose texts are UTF-8
        return "is no UTF-8 text"
    return f"is longer than {_MAX_BYTES} bytes" if size > _MAX_BYTES else None


def suggest_name(text: str) -> str:
    """Make a valid name of any text, by replacing what a name may not hold."""
    name = _FORBIDDEN.sub("-", text).strip(" .-")
    name = name.encode("utf-8", "ignore")[:_MAX_BYTES].decode("utf-8", "ignore").strip(" .-")
    return name if name and _find_problem(name) is None else "export"
