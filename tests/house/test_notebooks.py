"""The notebooks run from top to bottom, and are kept without outputs.

They share a data folder and a database, as those of a user do: what one has done, the next one finds done.
"""

import asyncio
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import nbformat
import pytest
from support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


OWN_LINES = 60
"""Lines in which a survey and an analysis can be written: notebook 06 says so."""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def sources(path):
    return [cell.source for cell in code_cells(nbformat.read(path, as_version=4))]


def runs():
    """Each notebook with the real data, and those that look for them without them, too.

    Those about five surveys take the star of the first notebook, and run in the way that most people run them.
    """
    for path in NOTEBOOKS:
        about_five = any("SMALL = {" in source for source in sources(path))
        if not about_five:
            yield path, "present"
        if any("VO_REAL_DATA" in source for source in sources(path)):
            yield path, "absent"


def execute(path, folder):
    """Run a notebook in its own kernel of this Python and return it with its outputs.

    In a thread of its own: in the main one nbclient takes over SIGINT and SIGTERM, ends its kernel, and what then fails
    is not the interrupt but whatever it did at that moment ("'NoneType' object has no attribute 'cleanup_resources'").
    """
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
        notebook, timeout=300, kernel_manager_class=ThisPython, resources={"metadata": {"path": str(folder)}}
    )
    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(lambda: asyncio.run(client.async_execute()))
        try:
            return done.result()
        finally:
            if not done.done():  # interrupted: without its kernel the notebook ends
                end_kernel(client)


def end_kernel(client):
    manager = client.km
    pid = manager.provisioner.pid if manager is not None and manager.provisioner is not None else None
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("notebooks") / "data"


@pytest.fixture
def environment(tmp_path, data, module_url, monkeypatch):
    """A data folder and a database of the module's own, and no leftovers of a user's Jupyter."""
    monkeypatch.setenv("VO_DATA", str(data))
    monkeypatch.setenv("VO_DATABASE_URL", module_url)
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_interrupt_of_a_notebook_is_an_interrupt_and_ends_its_kernel(environment, tmp_path):
    cell = nbformat.v4.new_code_cell(
        "import os, time; from pathlib import Path; Path('kernel').write_text(str(os.getpid())); time.sleep(120)"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "long.ipynb")
    seen = tmp_path / "kernel"

    def interrupt():
        while not (seen.is_file() and seen.read_text()):
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            execute(tmp_path / "long.ipynb", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(seen.read_text()), 0)


def test_survey_and_analysis_of_ones_own_take_as_few_lines_as_is_said():
    files = [one for one in sources(ROOT / "notebooks" / "06_own.ipynb") if one.startswith("%%writefile")]
    assert len(files) == 2
    lines = [line for file in files for line in file.splitlines()[1:] if line.strip()]
    assert len(lines) <= OWN_LINES


def test_notebooks_about_five_surveys_open_the_same_projects():
    opened = [
        [source for source in sources(ROOT / "notebooks" / name) if "SMALL = {" in source]
        for name in ("07_sql.ipynb", "08_depth.ipynb")
    ]
    assert opened[0]
    assert opened[0] == opened[1]


@pytest.mark.parametrize(
    ("path", "real"), [pytest.param(*one, id=f"{one[0].stem}-{one[1]}") for one in runs()]
)
# asyncio and zmq of the kernel's client tell of their own inner workings
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_notebook_runs_from_top_to_bottom(path, real, environment, data, tmp_path):
    if real == "absent":
        environment.setenv("VO_REAL_DATA", str(tmp_path / "nowhere"))
    done = execute(path, path.parent)
    cells = code_cells(done)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert {"text/plain", "text/html", "image/png"} <= kinds
    assert data.is_dir()
    # the pictures and tables are shown, nothing is complained about
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
