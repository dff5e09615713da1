"""A small volume of its own, for tests of what happens when it is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_volume(place: Path, *, megabytes: int) -> Iterator[Path]:
    """Mount a volume in memory at `place`; the test is skipped where that is not allowed."""
    place.mkdir()
    options = f"size={megabytes}m,mode=0777"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this account may not mount a volume")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
