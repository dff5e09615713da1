"""The contract suite: what every survey and every analysis must keep, whatever it does. For pytest.

A test file of three lines tries a plug-in of anybody::

    from virtualobserver.testing import SurveySuite

    class TestMine(SurveySuite):
        plugin = "mine.py"  # beside this file; or the name of an entry point

What the suite cannot know of a plug-in (targets, what noise is, which events are strong) the plug-in says itself in
``contract``. Nothing else is needed: the database that one check works with is made for it and thrown away.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError as error:
    msg = "virtualobserver.testing needs pytest: `pip install 'virtualobserver[testing]'`"
    raise ImportError(msg) from error

# before they are imported: only then does a failed assertion show what was compared
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("common", "analyses", "archives", "surveys"))
)

from virtualobserver.testing.analyses import AnalysisSuite  # noqa: E402
from virtualobserver.testing.surveys import SurveySuite  # noqa: E402

__all__ = ["AnalysisSuite", "SurveySuite"]
