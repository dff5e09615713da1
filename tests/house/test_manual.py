"""The examples of the manual work."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.paths import ROOT

from virtualobserver import Project
from virtualobserver.data.handles import as_handle
from virtualobserver.data.product import RawRef, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.observatory import Aux


def example_in(page: str) -> dict[str, Any]:
    """Run the first Python example of a page of the manual and return its names."""
    block = re.search(
        r"^```python\n(.*?)^```$",
        (ROOT / "docs" / page).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert block is not None
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block.group(1), page, "exec"), names)
    return names


def light_curve() -> TimeSeries:
    """Reduce what the manual's survey simulates."""
    survey = example_in("add_survey.md")["VirtualExample"]()
    target = Target(name="star")
    ((answered, raw),) = survey.simulate_raw([target], np.random.default_rng(1))
    assert answered is target
    (product,) = survey.reduce([RawRef.of(raw)], Aux(target=target), survey.settings)
    curve = product.data
    assert isinstance(curve, TimeSeries)
    return curve


def test_the_manuals_survey_reduces_what_it_simulates() -> None:
    curve = light_curve()
    assert len(curve) == 50
    assert np.median(curve.flux) == pytest.approx(500, abs=10)


def test_the_manuals_survey_reads_a_folder_in_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mjd,flux,error\n58001,3,1\n58000,2,1\n58002,1,900\n", encoding="utf-8")
    survey = example_in("add_survey.md")["VirtualExample"]()
    targets = [Target(name="a"), Target(name="b")]
    landed = list(survey.fetch(targets, SimpleNamespace(folders=[tmp_path])))
    assert [(target.name, raw.in_place) for target, raw in landed] == [("a", True)]
    (product,) = survey.reduce([RawRef.of(landed[0][1])], Aux(target=targets[0]), survey.settings)
    assert product.data.flux.tolist() == [2, 3]


def test_the_manuals_analysis_finds_what_it_injects_and_nothing_else() -> None:
    analysis = example_in("add_analysis.md")["Spikes"]()
    quiet = as_handle(light_curve())
    assert not analysis.find([quiet], Aux(target=Target(name="star")), analysis.settings).detections
    spike = analysis.draw(np.random.default_rng(2), [quiet], analysis.settings) | {"amplitude": 300.0}
    changed = analysis.inject([quiet], [spike], np.random.default_rng(3))
    (event,) = analysis.find(changed, Aux(target=Target(name="star")), analysis.settings).detections
    assert event.peak_mjd == spike["t_peak"]
    assert event.snr == pytest.approx(30, abs=5)
    assert analysis.recovered(spike, event)


def test_the_panels_of_the_manual_are_drawn() -> None:
    text = (ROOT / "docs" / "add_analysis.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "draw_panels" in block)
    names: dict[str, Any] = {}
    exec(compile(block, "add_analysis.md", "exec"), names)
    titles = [axes.get_title("left") for axes in names["figure"].axes]
    assert titles == ["flare at MJD 58040.0000, S/N +40.0", "whole light curve", "detection", "background"]


PAGES = ["README.md", "docs/first_search.md", "docs/database.md", "docs/products.md", "docs/add_survey.md"]
PAGES += ["docs/add_analysis.md", "docs/add_export.md", "docs/lsss.md", "docs/folder.md", "docs/asteroids.md"]
PAGES += ["docs/decam.md", "docs/vetting.md", "docs/archives.md", "docs/server.md", "docs/cluster.md"]
PAGES += ["docs/backup.md", "docs/comparison.md", "docs/old_scripts.md"]


def commands() -> list[tuple[str, str]]:
    """Return every `vo` command that the manual shows, with its page."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found += [(page, line) for line in re.findall(r"^\$ (vo .*)$", text, re.MULTILINE)]
        found += [(page, line) for line in re.findall(r"`(vo [a-z][^`\n]*)`", text)]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_of_the_manual_exist_with_their_options(page: str, line: str) -> None:
    import shlex

    import typer

    from virtualobserver.cli.entry import app

    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        if name.isupper() or "|" in name:  # `vo new survey|analysis`, `vo COMMAND`
            break
        assert name in command.commands, f"{page}: there is no command {name!r} in {line!r}"
        command = command.commands[name]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known.add("--help")
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{page}: {line!r} has no option {word}"


def test_python_of_the_guide_runs(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "flares.yaml").write_text(
        "name: flares\ncatalog: {rows: [{name: Vega, ra: 279.23, dec: 38.78}]}\n"
        "observatories: {demo: {flare_fraction: 1.0, flare_amplitude: 5.0}}\nanalyses: {transients: {}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VO_DATABASE_URL", url)
    pages = ["first_search.md", "database.md", "products.md", "folder.md", "cluster.md"]
    ran = []
    for page in pages:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        names: dict[str, Any] = {"__name__": "example"}
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            exec(compile(block, page, "exec"), names)
        names["project"].close()
        ran.append(page)
    assert ran == pages
    with Project.open("configs/flares.yaml") as project:
        project.judge(int(project.detections(simulated=True)["id"].iloc[0]), "candidate", user="ann")
        for page, line in commands():
            if statement := re.match(r'vo sql "([^"]+)"', line):
                rows = len(project.sql(statement[1]))
                # what the first pages propose shows something after a demonstration, whose data are simulated
                asks_injections = re.search(r"from (efficiency|injection)", line)  # there are none here
                assert rows or asks_injections or page not in {"README.md", "docs/database.md"}, line
        for page in ("driftscan.md", "decam.md"):
            text = (ROOT / "docs" / page).read_text(encoding="utf-8")
            statements = re.findall(r"^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            assert statements
            for one in statements:
                project.sql(one)
