"""Headless Chromium for the tests of the HTML report, and a page that notes what a reader must never meet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 15_000  # how long a page may take to show what a test waits for, on a busy machine


def executable() -> str | None:
    """The path of an installed Chromium, by the names that systems give it."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def why_unavailable() -> str | None:
    """Why no test can open a page here; null where it can."""
    return None if executable() else f"no Chromium ({', '.join(PROGRAMS)}); install it: apt-get install chromium"


@contextmanager
def running() -> Iterator[Browser]:
    """A browser until the block ends. As root it runs without its sandbox; it opens nothing but the tests' files."""
    from playwright.sync_api import expect, sync_playwright

    path = executable()
    assert path is not None
    expect.set_options(timeout=WAIT_MS)  # a page's own limit does not count for these
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page of the report in `folder`. `complaints` are console errors and warnings, dialogs, requests beyond disk."""

    page: Page
    folder: Path
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        """Open a page of the report anew, with a hash if the address has one."""
        self.page.goto("about:blank")  # else a new hash alone is no new page
        self.page.goto(f"{self.folder.as_uri()}/{address}")
        return self.page


def watched(page: Page, folder: Path) -> Watched:
    """Note what goes wrong in a page from now on."""
    page.set_default_timeout(WAIT_MS)
    found = Watched(page, folder)

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.complaints.append(f"console {message.type}: {message.text}")

    def asked(dialog: Dialog) -> None:
        found.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def requested(request: Request) -> None:
        if not request.url.startswith(("file:", "about:")):
            found.complaints.append(f"request: {request.url}")

    page.on("console", heard)
    page.on("pageerror", lambda error: found.complaints.append(f"uncaught: {error}"))
    page.on("dialog", asked)
    page.on("request", requested)
    return found
