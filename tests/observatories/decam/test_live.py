"""Projects that get their exposures from the archive: a server that answers like it, and misbehaves, in whole runs."""

import hashlib
import io
import json
from dataclasses import dataclass
from urllib.parse import parse_qs

import numpy as np
import pytest
from astropy.io import fits
from support.loopback import Act, Loopback

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.data.product import Target
from virtualobserver.observatories.decam.simulate import SimulationSettings, exposure_files, simulate

FIND = "/api/adv_search/find/"
CLOSED = b'{"message": "This file is not available to the public until 2096-08-12"}'
SIM = SimulationSettings(
    exposures=2,
    ccds=["N24", "S4"],
    size=(200, 240),
    density=1200,
    mag=(14.5, 19.0),
    flashes=0,
    events=0,
    nights=1,
)


@dataclass(frozen=True)
class File:
    row: dict[str, object]
    content: bytes

    @property
    def address(self):
        return f"/api/retrieve/{self.row['md5sum']}/"


@pytest.fixture(scope="module")
def files():
    """Return the files of a night by (band, product, number), with the rows that list them."""
    found = {}
    for exposure in simulate(Target("field", kind="field"), np.random.default_rng(3), SIM):
        for product, (name, content) in exposure_files(exposure).items():
            row = {
                "md5sum": hashlib.md5(content).hexdigest(), "archive_filename": f"/net/archive/{name}",
                "prod_type": product, "EXPNUM": exposure.expnum, "caldat": exposure.night, "ra_center": 92.25,
                "dec_center": -70.74, "filesize": len(content), "release_date": "2023-06-11",
                "exposure": exposure.header["EXPTIME"],
            }  # fmt: skip
            found[exposure.band, product, exposure.expnum] = File(row, content)
    return found


@pytest.fixture
def noirlab(files):
    with Loopback() as running:
        running.on("/api/version/", Act(body=b"7.0"))
        running.choose(FIND, lambda body: Act(body=answer(files, body)))
        for file in files.values():
            running.on(file.address, Act(body=file.content))
        yield running


def answer(files, body):
    """Answer a question as the archive does: files by filter, or the HDUs of a file."""
    asked = {condition[0]: condition[1:] for condition in json.loads(body)["search"]}
    if "md5sum" in asked:
        rows, kind = [{"hdu_idx": n, "EXTNAME": name} for n, name in enumerate(SIM.ccds, 1)], "hdu:"
    else:
        band = str(asked["ifilter"][0]).strip()
        rows, kind = [file.row for (of, _, _), file in files.items() if of == band], "file:"
    listed = [{kind + name: value for name, value in row.items()} for row in rows]
    return json.dumps([{"META": {}, "PARAMETERS": {}, "HEADER": {}}, *listed]).encode()


def configuration(noirlab, *, asked=None, **own):
    survey = {
        "noirlab": {"url": noirlab.url, **(asked or {})}, "rate": 1000.0, "drift_astrom": {"fewest": 5},
        "ccd": ["N24"], **own,
    }  # fmt: skip
    return {
        "name": "live",
        "catalog": {"name": "fields", "rows": [{"name": "LMC", "ra": 92.25, "dec": -70.74, "kind": "field"}]},
        "observatories": {"decam": survey},
    }


def units(project, role="forced"):
    rows = project.sql(
        f"SELECT u.unit FROM product p JOIN task u ON u.id = p.task_id WHERE p.role = '{role}'"
    )
    return sorted(rows["unit"])


def part(content, number):
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        stream = io.BytesIO()
        fits.HDUList([hdus[0], hdus[number]]).writeto(stream)
    return stream.getvalue()


def test_single_chips_are_got_measured_and_not_asked_for_again(noirlab, files, tmp_path, url):
    for file in files.values():
        noirlab.on(file.address, Act(body=part(file.content, 1)))
    drift = sorted(number for band, product, number in files if (band, product) == ("VR", "image"))
    with Project.open(configuration(noirlab), data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert summary.failed == 0, summary.failures
        assert units(project) == [f"N24/2021-12-11/{number}" for number in drift]
        retrieved = [a for a in noirlab.asked if "retrieve" in a.path]
        assert {parse_qs(a.query)["hdus"][0] for a in retrieved} == {"0,1"}
        assert len(retrieved) == len(files)
        planes = project.sql(
            "SELECT archive, archive_id, key, header->>'plane' AS plane, f.path FROM raw_data d JOIN file f "
            "ON f.id = d.file_id"
        )
        assert set(planes["archive"]) == {noirlab.url}
        assert set(planes["plane"]) == {"image", "dqmask", "weight"}
        assert all(name.endswith("fits.fz[N24]") for name in planes["archive_id"])
        assert all(path.startswith("raw/decam/") for path in planes["path"])
        assert not list((tmp_path / "data" / "tmp").rglob("*.fz"))
        # another project of the same data folder takes what is there, cameras' frames too
        before = len(retrieved)
        again = configuration(noirlab, read_mask=False) | {"name": "again"}
    with Project.open(again, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        assert len([a for a in noirlab.asked if "retrieve" in a.path]) == before
        assert units(project, "master") == units(project, "master")
        owners = project.sql(
            "SELECT DISTINCT s.name, r.unit FROM source_raw r JOIN source s ON s.id = r.source_id "
            "WHERE r.unit LIKE '%erence%' OR r.unit LIKE 'companion%'"
        )
        assert set(owners["name"]) == {"DECam"}


def test_masks_and_weights_are_left_where_they_are(noirlab, files, tmp_path, url):
    given = configuration(noirlab, read_mask=False, ccd=None)
    with Project.open(given, data=tmp_path / "data", url=url) as project:
        assert project.run(step="fetch").failed == 0
        retrieved = [a.path for a in noirlab.asked if "retrieve" in a.path]
        assert sorted(retrieved) == sorted(
            file.address for (_, product, _), file in files.items() if product == "image"
        )
        planes = project.sql("SELECT DISTINCT header->>'plane' AS plane FROM raw_data")
        assert set(planes["plane"]) == {"image"}


def test_one_bad_exposure_stops_no_other_and_the_next_run_goes_on(noirlab, files, tmp_path, url):
    (good, bad) = sorted(number for band, product, number in files if (band, product) == ("VR", "image"))
    mask = files["VR", "dqmask", bad]
    wrong = mask.content[:-1] + b"!"
    noirlab.on(mask.address, Act(body=wrong))
    folder = tmp_path / "mirror"
    given = configuration(noirlab, ccd=None, asked={"downloads": str(folder)})
    with Project.open(given, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        (failure,) = summary.failures
        assert "1 of 4 exposures of LMC missing" in failure["error"]
        assert "md5" in failure["error"]
        # nothing of it, and all of the other, which is measured already
        assert units(project) == [f"{ccd}/2021-12-11/{good}" for ccd in ("N24", "S4")]
        noirlab.on(mask.address, Act(body=mask.content))
        before = len([a for a in noirlab.asked if "retrieve" in a.path])
        assert project.run().failed == 0
        asked = [a.path for a in noirlab.asked if "retrieve" in a.path][before:]
        assert asked == [mask.address, files["VR", "wtmap", bad].address]  # the image stood there
        assert len(units(project)) == 4
        assert project.run().worked == 0
        assert len(list(folder.rglob("*.fits.fz"))) == len(files)


def run(tmp_path, url, given):
    with Project.open(given, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert units(project) == []
        statuses = project.sql("SELECT status, reason FROM task WHERE step = 'fetch:decam'")
        return [failure["error"] for failure in summary.failures], statuses


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Act(status=429, headers={"Retry-After": "0.1"}), "ArchiveUnavailable"),
        (Act(body=b"[{", cut=1), "IncompleteDownload"),
        (Act(body=b"[{", stall=1), "ArchiveUnavailable"),
        (Act(body=b"<html>maintenance</html>"), "ArchiveAnswerError"),
    ],
)
def test_a_listing_that_fails_is_told(noirlab, tmp_path, url, act, said):
    noirlab.choose(FIND, lambda _: act)
    failures, _ = run(tmp_path, url, configuration(noirlab, timeout=0.3))
    assert failures[0].startswith(said)


def test_a_newer_interface_an_empty_answer_and_files_that_are_not_public(
    noirlab, files, tmp_path, url, capsys
):
    noirlab.on("/api/version/", Act(body=b"8.0"))
    failures, _ = run(tmp_path / "newer", url, configuration(noirlab))
    assert "newer than 7" in failures[0]
    noirlab.on("/api/version/", Act(body=b"7.0"))
    noirlab.choose(FIND, lambda _: Act(body=answer({}, b'{"search": [["ifilter", "VR"]]}')))
    failures, found = run(tmp_path / "empty", url, configuration(noirlab) | {"name": "empty"})
    assert failures == []
    assert found["status"].tolist() == ["empty"]
    assert "lists no drift exposure within field_radius" in found["reason"][0]
    noirlab.choose(FIND, lambda body: Act(body=answer(files, body)))
    for file in files.values():
        noirlab.on(file.address, Act(status=403, body=CLOSED))
    failures, _ = run(tmp_path / "closed", url, configuration(noirlab, ccd=None) | {"name": "closed"})
    assert failures[0].startswith("Proprietary: 4 of 4 exposures")
    assert "set proprietary and give a login" in failures[0]


def test_the_command_says_what_is_missing_with_the_login_that_it_needs(
    noirlab, files, tmp_path, monkeypatch, capsys
):
    for file in files.values():
        noirlab.on(file.address, Act(status=403, body=CLOSED))
    config = tmp_path / "live.yaml"
    given = configuration(noirlab, ccd=None, asked={"proprietary": True}, reference_catalogue=None)
    config.write_text(json.dumps(given), encoding="utf-8")
    assert main(["run", str(config), "--data", str(tmp_path / "data")]) != 0
    said = " ".join(capsys.readouterr())
    assert "VO_DECAM_USERNAME" in " ".join(said.split())
