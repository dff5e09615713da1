"""The notebooks run from top to bottom, and are kept without outputs."""

import sys

import nbformat
import pytest
from support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(path, folder):
    """Run a notebook in its own kernel of this Python and return it with its outputs."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self):
            return KernelSpec(argv=command, display_name="this Python", language="python")

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, kernel_manager_class=ThisPython, resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


@pytest.fixture
def environment(tmp_path, url, monkeypatch):
    """A data folder and a database of the test's own, and no leftovers of a user's Jupyter."""
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VO_DATABASE_URL", url)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = tmp_path / "jupyter" / name.lower()
        folder.mkdir(parents=True)
        monkeypatch.setenv(name, str(folder))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    return monkeypatch


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))


@pytest.mark.parametrize("data", ["present", "absent"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# asyncio and zmq of the kernel's client tell of their own inner workings
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_notebook_runs_from_top_to_bottom(path, data, environment, tmp_path):
    if data == "absent":
        environment.setenv("VO_REAL_DATA", str(tmp_path / "nowhere"))
    done = execute(path, path.parent)
    cells = code_cells(done)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert {"text/plain", "text/html", "image/png"} <= kinds
    assert (tmp_path / "data").is_dir()
    # the pictures and tables are shown, nothing is complained about
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
