"""Where things are, for tests that read the project itself."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
PLUGINS = TESTS / "plugins"
