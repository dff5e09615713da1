"""A small search on simulated stars for tests of the command line, and processes that run commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from virtualobserver.cli import main

PROGRAM = "import sys; from virtualobserver.cli import main; sys.exit(main())"


def search(name: str, *, n_epochs: int = 60) -> str:
    """Return a configuration; another number of epochs gives it data of its own."""
    return f"""\
name: {name}
catalog:
  rows: [{{name: one, ra: 10, dec: 20}}, {{name: two, ra: 30, dec: 40}}, {{name: three, ra: 50, dec: 60}}]
observatories:
  demo: {{n_epochs: {n_epochs}, flare_fraction: 1.0, dip_fraction: 0.0}}
analyses:
  transients: {{snr_threshold: 5, simulate: {{number: 2}}}}
"""


@contextmanager
def searched(folder: Path, config: Path) -> Iterator[Path]:
    """Run a configuration over the data folder ``folder/data``, whose server stays up until the end."""
    from virtualobserver.run.workspace import Workspace

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        patch.setenv("VO_DATA", str(folder / "data"))
        with Workspace():
            assert main(["run", str(config), "--json"]) == 0
            yield folder
