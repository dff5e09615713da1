"""Where the real data lie that some tests need."""

import os
from pathlib import Path

import pytest

from support.paths import ROOT


def real_data(*parts: str) -> Path:
    """Path of a real file or folder; the test is skipped, or failed if VO_REQUIRE_REAL=1, without it."""
    root = Path(os.environ.get("VO_REAL_DATA") or ROOT.parent / "shared" / "data")
    path = root.joinpath(*parts)
    if not path.exists():
        reason = f"no real data at {path}: set VO_REAL_DATA to the folder that holds them"
        if os.environ.get("VO_REQUIRE_REAL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
