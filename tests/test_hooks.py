"""Lower layers reach upper ones through hooks: nothing is imported before it is used, everything works at once."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from support.paths import ROOT

from virtualobserver.hooks import Hook

DRAWN = """
import sys
import numpy as np
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.models.source import Source
assert not {"matplotlib", "virtualobserver.plot"} & set(sys.modules)
curve = TimeSeries({"mjd": np.arange(3.0), "flux": np.ones(3), "flux_error": np.ones(3), "flags": np.zeros(3, int)})
figure = curve.plot()
print(type(figure).__name__)
"""

HEADER = """
import sys
from virtualobserver import hooks
assert "astropy" not in sys.modules
print(hooks.plain_header(hooks.fits_header({"EXPTIME": 60.0}))["EXPTIME"])
"""


@pytest.mark.parametrize(("program", "said"), [(DRAWN, "Figure"), (HEADER, "60.0")])
def test_a_hook_imports_its_layer_when_it_is_called(program, said):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_a_hook_that_nobody_filled_says_what_it_is_for():
    with pytest.raises(RuntimeError, match="nothing draws here"):
        Hook("draws")("anything")


@pytest.mark.parametrize("room", ["data", "models"])
def test_no_room_below_reaches_another_by_a_string(room):
    package = ROOT / "src" / "virtualobserver"
    for path in sorted((package / room).rglob("*.py")):
        names = [node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)]
        assert not {"import_module", "__import__"} & set(names), path
