"""A project to vet, the server of its page, and a browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cli import PROGRAM
from support.paths import ROOT
from virtualobserver import Project
from virtualobserver.web.app import make_app
from virtualobserver.web.queue import Viewer
from virtualobserver.web.security import Keys

EVIL = "<script>alert(1)</script>"
"""A star with a name that a page must not take for a script."""
PORT = 7001


def settings() -> dict[str, Any]:
    """Return a search that finds something in each of twelve simulated stars, and in what is put into them."""
    names = [EVIL, *(f"star_{n:02d}" for n in range(11))]
    return {
        "name": "vetted",
        "catalog": {
            "name": "stars",
            "rows": [
                {"name": name, "ra": 10.0 + n, "dec": 20.0, "mag": 13.0 + n / 2}
                for n, name in enumerate(names)
            ],
        },
        "observatories": {
            "demo": {"n_epochs": 60, "flare_fraction": 1.0, "dip_fraction": 0.0, "flare_amplitude": 2.0}
        },
        "analyses": {
            f"{ROOT}/tests/plugins/shown.py": {},
            "transients": {"snr_threshold": 5, "simulate": {"number": 2, "amplitude": [15.0, 30.0]}},
        },
    }


def write_config(folder: Path) -> Path:
    """Write the configuration of `settings` into a folder."""
    path = folder / "vetted.yaml"
    path.write_text(yaml.safe_dump(settings()))
    return path


def client(project: Project, user: str = "ann", *, blind: bool = False, entered: bool = True) -> Any:
    """Return a client of the page's application, which a first visit has let in."""
    from starlette.testclient import TestClient

    keys = Keys(PORT)
    made = TestClient(
        make_app(project, Viewer(user, blind=blind), keys),
        base_url=f"http://127.0.0.1:{PORT}",
        follow_redirects=False,
    )
    made.keys = keys
    if entered:
        assert made.get(keys.address()).status_code == 200
    return made


def judge(made: Any, number: int, label: str, *, note: str = "", before: int = 0, **headers: str) -> Any:
    """Send a verdict as the page does."""
    given = {"origin": f"http://127.0.0.1:{PORT}", "x-vo-csrf": made.keys.csrf} | headers
    return made.post(
        "/verdict", json={"id": number, "label": label, "note": note, "before": before}, headers=given
    )


@contextmanager
def vetting(config: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``vo vet`` in a process of its own; give its first address."""
    command = [sys.executable, "-c", PROGRAM, "vet", str(config), *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as running:
        try:
            address = running.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), running.stderr.read()
            yield address, running
        finally:
            running.kill()
            running.communicate()


def chromium() -> str:
    """Return the browser's program, or skip: with ``VO_REQUIRE_BROWSER`` the lack of one is a failure."""
    found = os.environ.get("VO_CHROMIUM") or shutil.which("chromium")
    if found:
        return found
    if os.environ.get("VO_REQUIRE_BROWSER"):
        pytest.fail("VO_REQUIRE_BROWSER is set, and there is no chromium")
    pytest.skip("no chromium (apt-get install chromium, or VO_CHROMIUM)")


@contextmanager
def browser() -> Iterator[Any]:
    """Open a browser that speaks to this machine only."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    words = [
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--disable-gpu",
    ]
    words += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, args=words)
        yield opened
        opened.close()


@contextmanager
def answering(project: Project, user: str = "ann") -> Iterator[str]:
    """Serve a project from a thread of this process; give the first address."""
    import threading

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    keys = Keys(listener.getsockname()[1])
    app = make_app(project, Viewer(user), keys)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield keys.address()
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
