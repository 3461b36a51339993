"""The system's Chromium, for tests that look at pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 600_000
"""Milliseconds: what takes long on a busy machine is no failure."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Return the path of a Chromium that is installed; None without."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Run a browser without a window.

    Its sandbox is given up where it cannot be had: root may not open one.
    """
    from playwright.sync_api import sync_playwright

    bare = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=bare, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """What a page did that nobody looks at.

    Attributes:
        complaints: Errors and warnings of console and scripts.
        requests: Addresses that it asked for, but for its own file.
        dialogs: Messages of windows that it opened.
    """

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there was none of it."""
        return not (self.complaints or self.requests or self.dialogs)


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1280, dark: bool = False, part: str = ""
) -> Iterator[tuple[Page, Seen]]:
    """Open a file, and watch what it does.

    Args:
        browser: The browser.
        path: Of the file.
        width: Of the window; 360 is a phone.
        dark: Whether the system prefers dark colours.
        part: What stands behind ``#`` in the address.
    """
    scheme = "dark" if dark else "light"
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    seen, address = Seen(), path.as_uri()
    page.on("console", lambda m: m.type in ("error", "warning") and seen.complaints.append(m.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda r: r.url.startswith(address) or seen.requests.append(r.url))
    page.on("dialog", lambda d: (seen.dialogs.append(d.message), d.dismiss()))
    page.goto(f"{address}#{part}" if part else address)
    try:
        yield page, seen
    finally:
        page.close()
