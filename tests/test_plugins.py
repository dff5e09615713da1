from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from virtualobserver import plugins
from virtualobserver.errors import PluginError

SURVEY = """
class Base:
    name = ""
    class Settings: ...
    def fetch(self): ...

class VirtualMySky(Base):
    name = "{name}"
    class Settings:
        radius = 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of plug-ins in place of the package's own."""
    for kind in ("observatories", "analyses"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "__init__.py").write_text("")
        package = __import__(f"virtualobserver.{kind}", fromlist=["x"])
        monkeypatch.setattr(package, "__path__", [str(tmp_path / kind)])
    monkeypatch.setattr(plugins, "_folder", lambda kind: tmp_path / kind)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def add(folder: Path, name: str, text: str, kind: str = "observatories") -> None:
    (folder / kind / f"{name}.py").write_text(text)


def test_listing_names_modules_and_packages_only(folder: Path) -> None:
    add(folder, "my_sky", SURVEY)
    add(folder, "_private", "")
    big = folder / "observatories" / "big"
    big.mkdir()
    (big / "__init__.py").write_text("")
    (folder / "observatories" / "__pycache__").mkdir()
    (folder / "observatories" / "notes.txt").write_text("")
    (folder / "observatories" / "data").mkdir()
    assert plugins.names("observatories") == ["big", "my_sky"]
    assert plugins.names("analyses") == []


def test_listing_imports_no_plugin(folder: Path) -> None:
    add(folder, "broken", "raise RuntimeError('imported')")
    before = set(sys.modules)
    assert plugins.names("observatories") == ["broken"]
    assert plugins.class_names() == {"virtualbroken": ("observatories", "broken")}
    assert not {name for name in set(sys.modules) - before if name.startswith("virtualobserver.")}


def test_listing_the_real_folders_imports_no_plugin() -> None:
    code = (
        "import sys; from virtualobserver import plugins\n"
        "for kind in ('observatories', 'analyses'): plugins.names(kind)\n"
        "plugins.class_names()\n"
        "unwanted = ('virtualobserver.obs', 'virtualobserver.ana', 'numpy')\n"
        "print([m for m in sys.modules if m.startswith(unwanted)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_load_imports_one_and_returns_the_class_of_that_name(folder: Path) -> None:
    add(folder, "my_sky", SURVEY.format(name="my_sky"))
    add(folder, "broken", "raise RuntimeError('imported')")
    found = plugins.load("observatories", "my_sky")
    assert found.__name__ == "VirtualMySky"
    assert plugins.settings_of("observatories", "my_sky") is found.Settings
    assert plugins.find_class("VirtualMySky") is found
    assert plugins.find_class("VirtualMYSKY") is found
    assert plugins.find_class("VirtualNothing") is None
    assert plugins.find_class("virtualmysky") is None


def test_package_may_define_its_class_in_a_module_of_its_own(folder: Path) -> None:
    big = folder / "observatories" / "big"
    big.mkdir()
    (big / "__init__.py").write_text("from virtualobserver.observatories.big.core import VirtualMySky\n")
    (big / "core.py").write_text(SURVEY.format(name="big"))
    assert plugins.load("observatories", "big").name == "big"


def test_analysis_needs_find(folder: Path) -> None:
    add(folder, "dips", SURVEY.format(name="dips"), "analyses")
    with pytest.raises(PluginError, match="no class with name = 'dips', Settings and find"):
        plugins.load("analyses", "dips")
    add(folder, "flares", SURVEY.format(name="flares").replace("fetch", "find"), "analyses")
    assert plugins.load("analyses", "flares").name == "flares"
    assert plugins.class_names("analyses") == {"dips": ("analyses", "dips"), "flares": ("analyses", "flares")}


def test_unknown_name_lists_all_and_names_the_nearest(folder: Path) -> None:
    add(folder, "my_sky", SURVEY)
    add(folder, "other", SURVEY)
    with pytest.raises(
        PluginError, match=r"no survey 'my_ski'; did you mean 'my_sky'\? known: my_sky, other"
    ):
        plugins.load("observatories", "my_ski")


@pytest.mark.parametrize("name", ["../x", "a.b", "_private", "", "__init__"])
def test_names_outside_the_folder_are_unknown(folder: Path, name: str) -> None:
    with pytest.raises(PluginError, match="there is no survey"):
        plugins.load("observatories", name)


def test_two_classes_of_one_name_are_refused(folder: Path) -> None:
    add(folder, "my_sky", SURVEY.format(name="my_sky") + "class Twin(VirtualMySky): ...\n")
    with pytest.raises(PluginError, match="2 classes"):
        plugins.load("observatories", "my_sky")


@pytest.mark.parametrize("text", ["import nothing_of_this_name", "def ("])
def test_plugin_that_cannot_be_imported_is_named(folder: Path, text: str) -> None:
    add(folder, "bad", text)
    with pytest.raises(PluginError, match=r"survey 'bad' .* cannot be imported"):
        plugins.load("observatories", "bad")


def test_imported_plugin_class_of_another_module_is_not_taken(folder: Path) -> None:
    add(folder, "first", SURVEY.format(name="second"))
    add(folder, "second", "from virtualobserver.observatories.first import VirtualMySky\n")
    with pytest.raises(PluginError, match="no class"):
        plugins.load("observatories", "second")


def test_local_file_is_loaded_by_path_and_again_after_an_edit(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SURVEY.format(name="mine"))
    found = plugins.load("observatories", str(path))
    assert found.name == "mine"
    assert plugins.load("observatories", str(path)) is found
    path.write_text(SURVEY.format(name="renamed"))
    assert plugins.load("observatories", str(path)).name == "renamed"


def test_missing_or_broken_local_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="cannot be read"):
        plugins.load("observatories", str(tmp_path / "none.py"))
    path = tmp_path / "bad.py"
    path.write_text("import nothing_of_this_name")
    for _ in range(2):
        with pytest.raises(PluginError, match="cannot be imported"):
            plugins.load("observatories", str(path))


def test_entry_points_of_other_packages_count(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_sky.py").write_text(SURVEY.format(name="outside"))
    monkeypatch.syspath_prepend(tmp_path)
    group = "virtualobserver.observatories"
    points = [
        EntryPoint("outside", "outside_sky:VirtualMySky", group),
        EntryPoint("module", "outside_sky", group),
        EntryPoint("gone", "outside_sky:Nothing", group),
        EntryPoint("wrong", "outside_sky:Base", group),
    ]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: points if group.endswith("observatories") else []
    )
    assert plugins.names("observatories") == ["gone", "module", "outside", "wrong"]
    assert "outside_sky" not in sys.modules
    assert plugins.load("observatories", "outside").name == "outside"
    for name, reason in (("gone", "cannot be imported"), ("wrong", "needs name"), ("module", "no class")):
        with pytest.raises(PluginError, match=reason):
            plugins.load("observatories", name)
