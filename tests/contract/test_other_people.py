"""Plug-ins of other people meet the suite, good ones and ones that break a single promise.

All run in a folder of their own, with pytest alone: no configuration and no fixture of this project.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

from virtualobserver.testing import AnalysisSuite, SurveySuite

THEIRS = ROOT / "tests" / "plugins" / "theirs"
ARCHIVE = "test_sees_new_changed_and_vanished_files_and_other_folders"
PURE = "test_leaves_its_raw_data_and_reduces_them_the_same_way_twice"
STORE = "test_products_survive_the_store"
SETTINGS = "test_settings_are_documented_frozen_and_survive_a_process"
INPUTS = "test_leaves_its_inputs_and_repeats_itself"
ALARMS = "test_raises_no_more_false_alarms_on_noise_than_it_states"
RECOVERS = "test_recovers_strong_injections_and_repeats_them"
WHOLE = "test_detections_are_whole_finite_and_in_order"
COLUMNS = "test_every_column_has_an_entry"
PANELS = "test_panels_show_what_was_found"


@dataclass(frozen=True)
class Fault:
    """A good plug-in (file) with one passage (old) made wrong (new), and the checks that have to see it."""

    what: str
    file: str
    old: str
    new: str
    seen: tuple[str, ...]


FAULTS = (
    Fault("takes_any_setting", "curves", '"""Settings of the survey."""', 'model_config = {"extra": "ignore"}',
          ("test_unknown_settings_are_refused",)),
    Fault("has_settings_nobody_explains", "curves", '"""Settings of the survey."""', "more: float = 1.0", (SETTINGS,)),
    Fault("has_settings_that_thaw", "curves", '"""Settings of the survey."""', 'model_config = {"frozen": False}',
          (SETTINGS,)),
    Fault("needs_raw_data", "spectra", "if not raws:", "if False:", ("test_reduces_nothing_to_nothing",)),
    Fault("has_a_seed_of_its_own", "spectra", "rows = np.column_stack([rng.", "rows = np.column_stack([np.random.",
          ("test_simulates_the_same_bytes_from_the_same_seed",)),
    Fault("heeds_no_seed", "spectra", "for target in targets:\n            rows", "rng = np.random.default_rng(1)\n"
          "        for target in targets:\n            rows", ("test_simulates_the_same_bytes_from_the_same_seed",)),
    Fault("writes_into_raw_data", "curves", "season = json.loads(raw.read())",
          'season = json.loads(raw.read())\n            raw.header["seen"] = raw.header.get("seen", 0) + 1', (PURE,)),
    Fault("writes_into_masters", "frames", "for raw in raws:\n            data",
          'for raw in raws:\n            aux.masters["dark"].load().header["SEEN"] = 1\n            data', (PURE,)),
    Fault("reduces_by_chance", "curves", "+ settings.zero", "+ np.random.random()", (PURE,)),
    Fault("names_two_products_alike", "curves", 'series=f"{raw.archive_id} {band}"', "series=raw.archive_id", (PURE,)),
    Fault("says_nan_of_products", "curves", '{"n_seen": int(flux.size)}', '{"n_seen": float("nan")}', (PURE,)),
    Fault("makes_what_it_does_not_say", "frames", 'Product(stars, role="stars")', 'Product(stars, role="spots")',
          (PURE, "test_makes_all_it_says_it_produces")),
    Fault("says_what_it_does_not_make", "spectra", '(("spectrum", "reduced"),)',
          '(("spectrum", "reduced"), ("table", "lines"))', ("test_makes_all_it_says_it_produces",)),
    Fault("makes_what_no_file_holds", "curves", 'meta={"season": raw.archive_id}', 'meta={"season": {raw.archive_id}}',
          (STORE,)),
    Fault("names_columns_as_it_likes", "curves", '"humidity": np', '"wetness": np', (COLUMNS,)),
    Fault("loses_a_file", "curves", "paths = files_of(target, client)", "paths = files_of(target, client)[1:]",
          (ARCHIVE,)),
    Fault("sees_no_change", "curves", "yield target, stamps(files_of(target, client))", "yield target, {}", (ARCHIVE,)),
    Fault("needs_products", "search", "events, made = [], []", "events, made = [], [products[0]][:0]",
          ("test_nothing_finds_nothing",)),
    Fault("needs_rows", "search", "if len(curve) == 0:\n                continue\n", "curve.mjd[0]\n",
          ("test_products_without_rows_find_nothing",)),
    Fault("writes_into_what_it_searches", "search", "level = float(",
          'curve.meta["seen"] = curve.meta.get("seen", 0) + 1\n            level = float(', (INPUTS, RECOVERS)),
    Fault("injects_into_its_input", "search", "flux = curve.flux.copy()",
          'flux = curve.flux.copy()\n            curve.meta["seen"] = curve.meta.get("seen", 0) + 1',
          (INPUTS, RECOVERS)),
    Fault("injects_by_chance", "search", "rng.uniform(40.0, 80.0)", "np.random.uniform(40.0, 80.0)",
          (INPUTS, RECOVERS)),
    Fault("finds_by_chance", "search", '{"n_odd": len(events)}', '{"n_odd": np.random.random()}', (INPUTS,)),
    Fault("cries_wolf", "search", "> settings.least)", "> settings.least / 3)", (ALARMS,)),
    Fault("knows_none_of_its_own", "search", "    def inject(", "    def recovered(self, params, event):\n"
          "        return False\n\n    def inject(", (RECOVERS,)),
    Fault("does_not_say_when", "search", '{"t_peak": t, "start_mjd"', '{"t": t, "start_mjd"',
          (INPUTS, RECOVERS, WHOLE, STORE, COLUMNS, PANELS)),
    Fault("finds_nameless_things", "search", 'Event("odd", ', 'Event("", ', (WHOLE,)),
    Fault("points_beside_its_products", "search", "snr, product=number)", "snr, product=7)", (WHOLE,)),
    Fault("reports_nan", "search", '{"n_odd": len(events)}', '{"n_odd": len(events), "odd": float("inf")}', (WHOLE,)),
    Fault("makes_another_role", "search", 'role="levelled", series', 'role="flat", series', (STORE,)),
    Fault("shows_nothing", "search", "    def inject(", "    def panels(self, products, aux, settings, event):\n"
          "        return []\n\n    def inject(", (PANELS,)),
    Fault("has_columns_of_its_own", "search", ', own_columns=("oddity",)', "", (COLUMNS,)),
)  # fmt: skip


def write_test(folder: Path, plugin: str, name: str, *, archive: bool = True) -> None:
    """Write the test that somebody writes for a plug-in; without `archive`, the check that needs a server is left."""
    suite = "AnalysisSuite" if plugin.startswith(("search", "faint")) else "SurveySuite"
    lines = [
        f"from virtualobserver.testing import {suite}",
        "",
        "",
        f"class Test({suite}):",
        f"    plugin = {name!r}",
    ]
    if suite == "SurveySuite" and not archive:
        lines.append(f"    {ARCHIVE} = None")
    (folder / f"test_{plugin}.py").write_text("\n".join([*lines, ""]))


def results(folder: Path, *paths: Path) -> dict[str, dict[str, str]]:
    """Run the tests of a folder; return by file what became of each check: passed, failed or skipped."""
    report = folder / "report.xml"
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    folders = [*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        outcome = next(
            (child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed"
        )
        module = case.attrib["classname"].split(".")[0].removeprefix("test_")
        found.setdefault(module, {})[case.attrib["name"]] = outcome
    return found


def checks(suite: type) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_")}


def test_plugins_of_other_people_pass_the_whole_suite(tmp_path: Path) -> None:
    package = tmp_path / "installed"
    (package / "faintlab").mkdir(parents=True)
    renamed = {"curves": ('"seasons"', '"faint_seasons"'), "search": ('"odd"\n', '"faint_odd"\n')}
    for file, (old, new) in renamed.items():
        text = (THEIRS / f"{file}.py").read_text()
        assert text.count(f"name = {old}") == 1
        (package / "faintlab" / f"{file}.py").write_text(text.replace(f"name = {old}", f"name = {new}"))
    (package / "faintlab" / "__init__.py").touch()
    info = package / "faintlab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faintlab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[virtualobserver.observatories]\nfaint_seasons = faintlab.curves:VirtualSeasons\n"
        "[virtualobserver.analyses]\nfaint_odd = faintlab.search\n"
    )
    tests = tmp_path / "tests"
    tests.mkdir()
    for file in ("curves", "spectra", "frames", "search"):
        (tests / f"{file}.py").write_text((THEIRS / f"{file}.py").read_text())
        write_test(tests, file, f"{file}.py")
    write_test(tests, "package_survey", "faint_seasons")
    write_test(tests, "faint_search", "faint_odd")
    found = results(tests, package)
    surveys, analyses = (
        dict.fromkeys(checks(SurveySuite), "passed"),
        dict.fromkeys(checks(AnalysisSuite), "passed"),
    )
    assert found == {
        "curves": surveys, "spectra": surveys, "frames": surveys, "package_survey": surveys,
        "search": analyses, "faint_search": analyses,
    }  # fmt: skip


def test_the_plugins_of_the_manual_pass_the_suite_with_the_tests_of_the_manual(tmp_path: Path) -> None:
    for page, name in (("add_survey.md", "example"), ("add_analysis.md", "spikes")):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        (test,) = (block for block in blocks if "virtualobserver.testing" in block)
        (tmp_path / f"{name}.py").write_text(blocks[0])
        (tmp_path / f"test_{name}.py").write_text(test)
    found = results(tmp_path)
    assert found == {
        "example": dict.fromkeys(checks(SurveySuite), "passed"),
        "spikes": dict.fromkeys(checks(AnalysisSuite), "passed"),
    }


def test_a_broken_promise_is_seen_by_the_check_of_that_promise_and_no_other(tmp_path: Path) -> None:
    for fault in FAULTS:
        text = (THEIRS / f"{fault.file}.py").read_text()
        assert text.count(fault.old) == 1, fault
        name = f"{fault.file}_{fault.what}"
        (tmp_path / f"{name}.py").write_text(text.replace(fault.old, fault.new))
        write_test(tmp_path, name, f"{name}.py", archive=ARCHIVE in fault.seen)
    found = results(tmp_path)
    seen = {
        name: {check for check, outcome in of.items() if outcome != "passed"} for name, of in found.items()
    }
    assert seen == {f"{fault.file}_{fault.what}": set(fault.seen) for fault in FAULTS}


def test_each_check_of_the_suite_is_seen_to_fail() -> None:
    assert {check for fault in FAULTS for check in fault.seen} == checks(SurveySuite) | checks(AnalysisSuite)


def test_a_suite_without_a_plugin_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "test_none.py").write_text(
        "from virtualobserver.testing import SurveySuite\n\nclass TestNone(SurveySuite):\n    pass\n"
    )
    assert set(results(tmp_path)["none"].values()) == {"error"}


def test_the_suite_without_pytest_names_the_extra() -> None:
    code = "import sys; sys.modules['pytest'] = None\nimport virtualobserver.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "virtualobserver[testing]" in done.stderr
