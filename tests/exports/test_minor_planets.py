"""Places of movers for the Minor Planet Center: 80 columns, and ADES that its own program takes."""

from __future__ import annotations

import importlib
import io
from types import SimpleNamespace

import pandas as pd
import pytest
from ades import adesutility, packUtil, psvtoxml, valutility
from support.paths import PLUGINS

from virtualobserver import Project
from virtualobserver.ccd.observatory import CCDObservatory
from virtualobserver.errors import ConfigError
from virtualobserver.export import Maker
from virtualobserver.io.mpc.movers import catalogue_name, observations_of
from virtualobserver.run.views.ways_out import find_way_out, write

MPC, ADES = find_way_out("mpc"), find_way_out("ades")
SETTINGS = {
    "name": "places",
    "catalog": {"rows": [{"name": "star", "ra": 10.5, "dec": -20.25}]},
    "observatories": {"demo": {"n_epochs": 10}},
    "analyses": {str(PLUGINS / "asteroids_seen.py"): {}},
}
HEADER = {
    "code": "J75",
    "submitter": "A. Name",
    "measurers": ["A. Name"],
    "aperture": 0.45,
    "catalogue": "Gaia3",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        with Project.open(SETTINGS, data=tmp_path_factory.mktemp("places")) as opened:
            assert opened.run().failed == 0
            yield opened


def export(project, way, path, **options):
    number = write(project, way, path, simulated=True, options=options)
    return number, path.read_text("utf-8").splitlines()


def test_header_and_records_have_the_columns_of_the_minor_planet_center(project, tmp_path):
    number, lines = export(
        project, MPC, tmp_path / "a.txt", code="J75", observers="A. Name", catalogue="Gaia3", telescope="0.45-m f/2.8"
    )  # fmt: skip
    assert lines[:4] == ["COD J75", "OBS A. Name", "TEL 0.45-m f/2.8", "NET Gaia3"]
    records = lines[4:]
    assert number == len(records) == 8
    assert {len(line) for line in records} == {80}
    ids = [packUtil.unpackPackedID(line[:12]) for line in records[::2]]
    assert ids[0] == (None, None, "AST1")
    assert ids[1][:2] == ("229762", None)
    assert ids[2][:2] == (None, "2019 RB21")
    assert ids[3][2].startswith("v")
    assert records[4] == "     K19R21B  C2023 06 06.00000000 00 00.000-00 30 00.00         18.90rW     J75"
    assert records[5][:56] == "     K19R21B  C2023 06 07.00000000 00 00.000-00 30 00.00"
    assert records[5][56:] == f"{'':15}W     J75"
    assert not any(line[65:71].strip() for line in records[:2])  # no zero point, no magnitude


def test_flagged_epochs_and_another_band_are_asked_for(project, tmp_path):
    number, lines = export(
        project, MPC, tmp_path / "a.txt", code="J75", flagged=True, band="G", note1="K", note2="B"
    )
    assert number == 12
    assert {line[13:15] for line in lines[1:]} == {"KB"}
    assert {line[70] for line in lines[1:]} == {"G", " "}


def validate(path, folder):
    """Return what the program of the Minor Planet Center has to say against a file; None if nothing."""
    told = folder / "told.xml"
    importlib.reload(psvtoxml)  # it goes on where the file before ended
    psvtoxml.psvtoxml(str(path), str(told))
    return valutility.validate_xslt(
        "submit", adesutility.schemaxslts["submit"], adesutility.readXML(str(told)), io.StringIO()
    )


def rows(lines):
    table = [[cell.strip() for cell in line.split("|")] for line in lines if line[0] not in "#!"]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_ades_holds_all_and_is_valid(project, tmp_path):
    number, lines = export(project, ADES, tmp_path / "a.psv", **HEADER, telescope="Sierra")
    assert lines[:5] == ["# version=2022", "# observatory", "! mpcCode J75", "# submitter", "! name A. Name"]
    found = rows(lines)
    assert number == len(found) == 8
    assert found[4] == {
        "permID": "", "provID": "2019 RB21", "trkSub": "", "mode": "CCD", "stn": "J75",
        "obsTime": "2023-06-06T00:00:00.000Z", "ra": "359.9999999", "dec": "-0.5000000", "rmsRA": "0.120",
        "rmsDec": "0.001", "astCat": "Gaia3", "mag": "18.900", "rmsMag": "0.011", "band": "r", "photCat": "Gaia3",
    }  # fmt: skip
    assert found[5]["obsTime"] == "2023-06-06T23:59:59.965Z"
    assert (found[5]["mag"], found[5]["band"], found[5]["photCat"]) == ("", "", "")
    assert found[2]["permID"] == "229762"
    assert found[0]["trkSub"] == "AST1"
    assert found[6]["rmsRA"] == found[6]["rmsDec"] == "0.141"  # one error for both axes
    assert validate(tmp_path / "a.psv", tmp_path) is None


def test_the_judge_of_ades_refuses_what_is_wrong(project, tmp_path):
    _, lines = export(project, ADES, tmp_path / "a.psv", **HEADER)
    wrong = tmp_path / "wrong.psv"
    wrong.write_text("\n".join(lines).replace("23:59:59.965", "23:59:60.000") + "\n")
    assert "obsTime" in validate(wrong, tmp_path)


def test_what_the_header_needs_is_asked_for(project, tmp_path):
    with pytest.raises(ConfigError, match=r"code of the observatory.*--option code="):
        write(project, MPC, tmp_path / "a.txt", simulated=True)
    with pytest.raises(ConfigError, match="submitter, measurers, aperture"):
        write(project, ADES, tmp_path / "a.psv", simulated=True, options={"code": "J75"})
    assert list(tmp_path.iterdir()) == []
    assert write(project, MPC, tmp_path / "a.txt") == 0  # what is simulated stays out
    assert list(tmp_path.iterdir()) == []


def test_what_is_the_same_each_time_may_stand_in_a_file(project, tmp_path):
    file = tmp_path / "header.yaml"
    file.write_text(
        "submitter: A. Name\nmeasurers: A. Name, B. Other\nobservers: [C. Third]\naperture: 0.45\ncode: J75\n"
    )
    _, lines = export(project, ADES, tmp_path / "a.psv", header=str(file), code="L98")
    told = [line for line in lines if line[0] in "#!"]
    assert told[2] == "! mpcCode L98", "what is given counts"
    assert told[5:10] == [
        "# observers",
        "! name C. Third",
        "# measurers",
        "! name A. Name",
        "! name B. Other",
    ]
    assert validate(tmp_path / "a.psv", tmp_path) is None
    assert export(project, ADES, tmp_path / "b.psv", **HEADER | {"measurers": "A. Name"})[0] == 8
    for content, said in (("- A. Name", "should hold options"), ("sumbitter: A", "did you mean 'submitter'"),
                          ("a: [", "cannot be read as YAML")):  # fmt: skip
        file.write_text(content)
        with pytest.raises(ConfigError, match=said):
            export(project, ADES, tmp_path / "c.psv", header=str(file))
    with pytest.raises(ConfigError, match="header=FILE"):
        write(project, ADES, tmp_path / "c.psv", simulated=True, options={"code": "J75"})


def test_code_and_catalogue_are_those_of_the_survey(project, tmp_path):
    seen = project.detections(simulated=True)
    search = Maker("analysis", "asteroids_seen", makes=frozenset({("lightcurve", "mover")}))
    survey = Maker("survey", "cam", mpc_code="493", refcat="gaia@dr2")
    view = SimpleNamespace(makers=(survey, search), table=lambda what: seen, products=lambda source: [])
    assert MPC.write(view, tmp_path / "a.txt", MPC.Settings()) == 8
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines[:2] == ["COD 493", "NET Gaia2"]
    assert lines[2][71:] == "V     493"
    two = SimpleNamespace(**vars(view) | {"makers": (survey, Maker("survey", "b", mpc_code="J75"), search)})
    with pytest.raises(ConfigError, match="one of 493, J75"):
        MPC.write(two, tmp_path / "b.txt", MPC.Settings())


def test_what_was_injected_is_never_sent(project, tmp_path):
    seen = project.detections(simulated=True).assign(source="field", source_kind="field")
    search = Maker("analysis", "asteroids_seen", makes=frozenset({("lightcurve", "mover")}))
    view = SimpleNamespace(makers=(search,), table=lambda what: seen, products=lambda source: [])
    assert MPC.write(view, tmp_path / "a.txt", MPC.Settings(code="J75")) == 0
    assert ADES.write(view, tmp_path / "a.psv", ADES.Settings()) == 0


def test_a_camera_says_its_code():
    assert (
        CCDObservatory.mpc_code.fget(SimpleNamespace(settings=CCDObservatory.Settings(mpc_code="J75")))
        == "J75"
    )


@pytest.mark.parametrize(
    ("known", "name"),
    [
        (["gaia@dr3"], "Gaia3"), (["gaia_field@edr3", ""], "Gaia3E"), (["tycho2@1"], "Tyc2"), (["mine@1"], "UNK"),
        ([], "UNK"), (["gaia@dr3", "gaia@dr2"], "UNK"),
    ],
)  # fmt: skip
def test_catalogues_have_the_names_of_ades(known, name):
    assert catalogue_name("", known) == name
    assert catalogue_name("UCAC4", known) == "UCAC4"


def test_a_mover_that_is_part_of_a_body_is_sent_once_under_its_name(project):
    seen = project.detections(simulated=True)
    once = observations_of(seen, lambda source: [], band=None, flagged=True, longest_band=1)
    mover = seen[seen["source"] == "AST_1"]
    body = mover.assign(kind="asteroid", source="A1", known_as="(5945) Roachapproach")
    both = pd.concat([seen, body.iloc[:2]])
    found = observations_of(both, lambda source: [], band=None, flagged=True, longest_band=1)
    assert len(found) == len(once) == 12
    assert [one.designation.permanent for one in found].count("5945") == 2
