"""External programs of the recipe, and stand-ins for them on the path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from virtualobserver.ccd.programs import Program
from virtualobserver.errors import ProgramError


def needs(program: Program) -> None:
    """Skip the test where the program is absent."""
    try:
        program.find()
    except ProgramError as error:
        pytest.skip(str(error))


def stand_in(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a shell script of this name first on the path."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return path
