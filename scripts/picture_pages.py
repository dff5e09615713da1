"""Take pictures of the vetting page of projects that were run, to be looked at: queue, candidates, a source, people.

For each analysis and kind of a project the strongest candidate, and one of the middle, on two screens.
Needs Playwright and chromium (`VO_CHROMIUM`, else the one on the path). `vo demo` makes what is seen by default.

Usage: python scripts/picture_pages.py [--data DIR] [--out results/screenshots] [PROJECT ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from virtualobserver.config.shipped import demonstrations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENS = {"large": (1440, 900), "small": (1024, 768)}
PROGRAM = "import sys; from virtualobserver.cli import main; sys.exit(main())"
DRAWN = """() => document.querySelector(".scene:not(.unseen)") && [...document.querySelectorAll(
  ".scene:not(.unseen) .picture")].every((one) => one.dataset.drawn)"""
SETTLED = 500
"""Milliseconds in which pictures take their size."""


def main() -> None:
    """Take the pictures that the command line asks for."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("projects", nargs="*", metavar="PROJECT", help="by default all demonstrations")
    words.add_argument("--data", help="data folder, as of vo")
    words.add_argument("--out", type=Path, default=Path("results/screenshots"))
    words.add_argument(
        "--simulated", action="store_true", help="with injected events, as to who judges blind"
    )
    asked = words.parse_args()
    from playwright.sync_api import sync_playwright

    asked.out.mkdir(parents=True, exist_ok=True)
    program = os.environ.get("VO_CHROMIUM") or shutil.which("chromium")
    flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=program, args=flags)
        for project in asked.projects or demonstrations():
            with served(project, asked.data, simulated=asked.simulated) as address:
                picture(chrome, address, Path(project).stem, asked.out)
        chrome.close()


@contextmanager
def served(project: str, data: str | None, *, simulated: bool) -> Iterator[str]:
    """Run ``vo vet`` and give its first address."""
    words = [sys.executable, "-c", PROGRAM, "vet", project, "--user", "pictures"]
    words += [*(["--data", data] if data else []), *(["--simulated"] if simulated else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield (running.stdout.readline() if running.stdout else "").strip()
        finally:
            running.terminate()


def picture(chrome: Browser, address: str, name: str, folder: Path) -> None:
    """Take all pictures of one project."""
    base = address.split("/?", maxsplit=1)[0]
    for screen, (width, height) in SCREENS.items():
        page = chrome.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        page.on(
            "console",
            lambda said: (
                sys.stderr.write(f"{name}: {said.text}\n") if said.type in {"error", "warning"} else None
            ),
        )
        page.goto(address)
        page.wait_for_selector(".queue")
        page.screenshot(path=folder / f"{name}_queue_{screen}.png")
        for what, number in candidates(page):
            page.goto(f"{base}/candidate/{number}")
            page.wait_for_function(DRAWN)
            page.wait_for_timeout(SETTLED)
            page.screenshot(path=folder / f"{name}_{what}_{screen}.png")
        if screen == "large":
            source = page.get_attribute(".scene:not(.unseen) .case", "data-source") or ""
            for what, leads in (("source", f"/source?name={quote(source)}"), ("people", "/people")):
                page.goto(base + leads)
                page.wait_for_timeout(4 * SETTLED)
                page.screenshot(path=folder / f"{name}_{what}.png")
        page.close()


def candidates(page: Page) -> list[tuple[str, int]]:
    """Return name and number of the candidates to take, of those on the first page of the queue."""
    rows = page.evaluate(
        """() => [...document.querySelectorAll("table.list tbody tr")].map((row) =>
        [0, 2, 3].map((n) => row.cells[n].innerText))"""
    )
    kinds: dict[str, list[int]] = {}
    for number, analysis, kind in rows:
        kinds.setdefault(f"{analysis}_{kind.replace(' ', '_')}", []).append(int(number))
    found = [(kind, numbers[0]) for kind, numbers in kinds.items()]
    return found + [
        (f"{kind}_middle", numbers[len(numbers) // 2]) for kind, numbers in kinds.items() if len(numbers) > 2
    ]


if __name__ == "__main__":
    main()
