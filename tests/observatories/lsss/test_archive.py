"""The archive of LSSS: one folder a night, masters by name, lists of what is known better than by headers."""

from __future__ import annotations

import gzip
from hashlib import sha256

import numpy as np
import pytest
from astropy.io import fits
from support.astep import change, drive

from virtualobserver.ccd.folder import folder_raws
from virtualobserver.conventions import MASK_BAD
from virtualobserver.data import Target
from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.observatories.lsss import LSSSSettings, VirtualLSSS

FIELD = Target("field", ra=150.0, dec=20.0, kind="field")
SMALL = {
    "frames": 2,
    "size": (64, 80),
    "stars": 12,
    "movers": 1,
    "dither": 0.0,
    "cosmics": 0.0,
    "satellites": 0.0,
}


def write(folder, *, seed=1, **simulation):
    """Write a simulated night, 170225, and return the folder."""
    survey = VirtualLSSS(simulation={**SMALL, **simulation})
    for _, raw in survey.simulate_raw([FIELD], np.random.default_rng(seed)):
        path = folder / raw.archive_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw.content)
    return folder


def driven(folder, **options):
    return drive(folder, VirtualLSSS, **options)


def facts(folder, **options):
    """Return what is known of each file, by name."""
    return {raw.archive_id: raw.header for raw in folder_raws([folder], LSSSSettings(**options))}


def state(folder):
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_night_of_finished_masters_is_calibrated_and_its_folder_left_alone(tmp_path):
    before = state(write(tmp_path))
    done = driven(tmp_path)
    assert not done.errors
    assert state(tmp_path) == before
    assert {key.partition("/")[0] for key in done.masters} == {"bias", "flat"}
    assert sorted(done.frames) == ["170225/field.00000", "170225/field.00001"]
    for product in done.frames.values():
        assert product.statistics["flagged"] == []
        assert product.band == "NONE"
        assert any("no filter in the header" in line for line in product.data.header["HISTORY"])


def test_a_flat_near_1_is_used_as_it_is_delivered(tmp_path):
    write(tmp_path)
    (path,) = tmp_path.glob("*/masterflat*")
    with fits.open(path, mode="update") as hdus:
        hdus[0].data *= 1.07  # not even its level is touched
        hdus[0].data[3, 4] = 0.0
    done = driven(tmp_path)
    (flat,) = [handle.load() for key, handle in done.masters.items() if key.startswith("flat")]
    expected = fits.getdata(path).astype(np.float32)
    expected[3, 4] = 1.0
    assert np.array_equal(flat.data, expected)
    assert flat.mask[3, 4] & MASK_BAD
    assert not flat.variance.any()
    (notes,) = {tuple(h.info.statistics["notes"]) for k, h in done.masters.items() if k.startswith("flat")}
    assert notes == ("used as delivered: 170225/masterflat_2x2.fts",)


def test_raw_flats_beside_a_finished_one_are_left_out_by_name(tmp_path):
    write(tmp_path)
    (path,) = tmp_path.glob("*/masterflat*")
    raw = path.with_name("flat_raw.fts")
    raw.write_bytes(path.read_bytes())
    with fits.open(raw, mode="update") as hdus:
        hdus[0].data = hdus[0].data * 20000 + 1000
    done = driven(tmp_path)
    (left,) = [h.info.statistics["left_out"] for k, h in done.masters.items() if k.startswith("flat")]
    assert list(left) == ["170225/flat_raw.fts"]
    assert "there is a finished flat" in left["170225/flat_raw.fts"]


@pytest.mark.parametrize(("level", "kind"), [(1000.0, "bias"), (5000.0, "dark")])
def test_a_dark_of_low_level_is_a_bias(tmp_path, level, kind):
    write(tmp_path)
    (path,) = tmp_path.glob("*/masterbias*")
    other = path.with_name("d0001.fts")
    path.rename(other)
    with fits.open(other, mode="update") as hdus:
        hdus[0].data += np.float32(level - 1000)
    assert facts(tmp_path)["170225/d0001.fts"]["kind"] == kind


@pytest.mark.parametrize(("name", "kind"), [("MyBias1.fit", "bias"), ("sky_FLAT_R.fits", "flat")])
def test_names_of_masters_go_before_the_header(tmp_path, name, kind):
    write(tmp_path)
    path = next(tmp_path.glob("*/field*"))
    (tmp_path / "170225" / name).write_bytes(path.read_bytes())
    assert facts(tmp_path)[f"170225/{name}"]["kind"] == kind


def test_masters_are_turned_for_frames_taken_after_the_telescope_turned_over(tmp_path):
    write(tmp_path, stars=0, movers=0, clouds=0.0, sky=20000.0)
    for turned, even in ((True, True), (False, False)):
        done = driven(tmp_path, flipstat=turned, signature={})
        image = done.frames["170225/field.00001"].data
        y, x = np.mgrid[: image.data.shape[0], : image.data.shape[1]]
        plane = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=1)
        rest = image.data.ravel() - plane @ np.linalg.lstsq(plane, image.data.ravel(), rcond=None)[0]
        pull = rest / np.sqrt(image.variance.ravel())
        assert (np.std(pull[image.mask.ravel() == 0]) < 1.1) == even


def test_without_a_bias_of_its_mode_a_frame_gets_the_level_of_another_and_says_so(tmp_path):
    write(tmp_path)
    (path,) = tmp_path.glob("*/masterbias*")
    change([path], XBINNING=1)
    for flat in tmp_path.glob("*/masterflat*"):
        flat.unlink()
    done = driven(tmp_path)
    product = done.frames["170225/field.00000"]
    assert product.statistics["flagged"] == [
        "no bias: the median of bias/64x80/1x2/170225 is subtracted",
        "no flat of filter 'NONE'",
    ]
    assert product.statistics["sky"] == pytest.approx(900 * 1.3 * 1.075, rel=0.2)
    path.unlink()
    done = driven(tmp_path)
    assert "no bias: nothing is subtracted" in done.frames["170225/field.00000"].statistics["flagged"][0]


def test_masters_of_another_month_are_used_and_flagged(tmp_path):
    write(tmp_path)
    write(tmp_path, first_night="2017-05-25")
    for path in (tmp_path / "170525").glob("master*"):
        path.unlink()
    done = driven(tmp_path)
    assert done.frames["170225/field.00000"].statistics["flagged"] == []
    assert done.frames["170525/field.00000"].statistics["flagged"] == [
        "the master bias is 89 d away",
        "the master flat is 89 d away",
    ]


def test_lists_correct_ignore_and_force_frames(tmp_path):
    write(tmp_path / "nights")
    (tmp_path / "corrections.yaml").write_text(
        "night: 170225\nfiles: ['*.00000.fts']\nreplace-keyword:\n  - {EXPTIME: 30.0}\n  - {OBJECT: other}\n"
        "---\nnight: 180101\nenabled: True\nfiles: ['*']\nreplace-keyword: [{NOSUCH: 1}]\n"
        "---\nnight: '*'\nenabled: False\nfiles: ['*']\nreplace-keyword: [{NOSUCH: 1}]\n"
    )
    (tmp_path / "ignored.yaml").write_text("night: 1702*\nfiles:\n  - '*.00001.*'\n")
    lists = {"corrections": str(tmp_path / "corrections.yaml"), "ignored": [str(tmp_path / "ignored.yaml")]}
    found = facts(tmp_path / "nights", **lists)
    assert "170225/field.00001.fts" not in found
    frame = found["170225/field.00000.fts"]
    assert (frame["exposure"], frame["object"], frame["problem"]) == (30.0, "other", "")
    lists["corrections"] = [{"files": ["field*"], "replace": {"EXPTIME": 30.0}}]
    done = driven(tmp_path / "nights", **lists)
    assert done.frames["170225/field.00000"].data.header["EXPTIME"] == 30.0
    forced = [{"files": "field*", "classification": "flat-imaging"}]
    assert facts(tmp_path / "nights", forced=forced)["170225/field.00000.fts"]["kind"] == "flat"


@pytest.mark.parametrize(
    ("night", "folder", "named"),
    [("170225", "170225", True), ("010225", "010225", True), ("'1702*'", "170225", True), ("170226", "170225", False),
     ("'*'", "170225", True), ("night1", "night1", True)],
)  # fmt: skip
def test_nights_of_lists_are_names_or_patterns_and_keep_their_zeros(tmp_path, night, folder, named):
    (tmp_path / "list.yaml").write_text(f"night: {night}\nfiles: ['a*.fts']\n")
    (rule,) = LSSSSettings(ignored=str(tmp_path / "list.yaml")).ignored
    assert rule.names(f"raw/{folder}/a1.fts") == named
    assert not rule.names(f"raw/{folder}/b1.fts")


def test_a_frame_of_another_camera_is_refused_by_name(tmp_path):
    write(tmp_path)
    change([next(tmp_path.glob("*/field*"))], INSTRUME="CAFOS 2.2")
    (error,) = driven(tmp_path).errors.values()
    assert "INSTRUME is 'CAFOS 2.2', not SBIG ST-10 3 CCD Camera: a frame of another camera" in str(error)


def test_what_lists_cannot_do_is_said(tmp_path):
    write(tmp_path)
    rule = {"files": ["*.00000.fts"], "replace": {"NOSUCH": 1}}
    done = driven(tmp_path, corrections=[rule])
    (error,) = done.errors.values()
    assert isinstance(error, BadKeyword)
    assert "keyword NOSUCH of the list `corrections` is not in the header" in str(error)
    done = driven(tmp_path, forced=[{"files": ["*.00000.fts"], "kind": "portrait"}])
    assert "'portrait', which is no kind of frame" in str(*done.errors.values())
    with pytest.raises(ValueError, match=r"nothing\.yaml: not a list of files"):
        LSSSSettings(ignored=str(tmp_path / "nothing.yaml"))


def test_a_list_counts_by_what_it_says_and_not_by_where_it_lies(tmp_path):
    made = []
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("night: 170225\nfiles: [x]\n")
        made.append(LSSSSettings(ignored=str(tmp_path / name)))
    assert made[0] == made[1]


def test_frames_of_one_name_in_two_nights_are_two_or_an_error(tmp_path):
    write(tmp_path)
    write(tmp_path, first_night="2017-02-26", seed=2)
    assert len(driven(tmp_path).frames) == 4
    with pytest.raises(
        InvalidFile, match=r"170225/field\.00000\.fts and 170226/field\.00000\.fts are frames"
    ):
        facts(tmp_path, duplicates="error")


def test_an_archive_may_be_a_list_of_folders_or_a_single_night(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", seed=2)
    raws = folder_raws([tmp_path / "a", tmp_path / "b"], LSSSSettings())
    assert {raw.header["night"] for raw in raws} == {"170225"}
    assert len({raw.archive_id for raw in raws}) == 8
    alone = folder_raws([tmp_path / "a" / "170225"], LSSSSettings())
    assert {raw.header["night"] for raw in alone} == {"170225"}
    assert {raw.header["frame"] for raw in alone} >= {"field.00000", "field.00001"}


def test_folders_that_overlap_give_each_frame_once(tmp_path):
    night = write(tmp_path / "a") / "170225"
    once = {raw.archive_id for raw in folder_raws([tmp_path / "a"], LSSSSettings())}
    for folders in ([tmp_path / "a", night], [night, tmp_path / "a"], [night, night]):
        raws = folder_raws(folders, LSSSSettings())
        assert {raw.archive_id for raw in raws} == once
        assert len(raws) == 4
    lent = tmp_path / "a" / "170226"
    lent.mkdir()
    (lent / "masterflat.fts").symlink_to(next(night.glob("masterflat*")))
    assert "170226/masterflat.fts" in {
        raw.archive_id for raw in folder_raws([tmp_path / "a"], LSSSSettings())
    }


@pytest.mark.parametrize("whole", [True, False])
def test_folders_called_after_kinds_of_frames_are_no_nights(tmp_path, whole):
    night = write(tmp_path) / "170225"
    for folder, pattern in (("Lights", "field*"), ("BIAS", "masterbias*"), ("flat frames", "masterflat*")):
        (night / folder).mkdir()
        for path in sorted(night.glob(pattern)):
            path.rename(night / folder / path.name)
    done = driven(tmp_path if whole else night)
    assert not done.errors
    assert sorted(done.frames) == ["170225/Lights~field.00000", "170225/Lights~field.00001"]
    assert all(product.statistics["flagged"] == [] for product in done.frames.values())


def test_a_science_frame_of_no_exposure_time_is_refused(tmp_path):
    write(tmp_path)
    change([min(tmp_path.glob("*/field*"))], EXPTIME="0.0")
    done = driven(tmp_path)
    assert list(done.frames) == ["170225/field.00001"]
    assert "the exposure time is 0 s" in str(done.errors["170225/field.00000"])


@pytest.mark.parametrize("suffix", [".fits", ".fit", ".fts", ".fts.gz", ".fits.fz", ".fts.fz"])
def test_files_are_read_whatever_their_ending(tmp_path, suffix):
    write(tmp_path)
    path = next(tmp_path.glob("*/field*"))
    other = path.with_name("other" + suffix)
    if suffix.endswith(".gz"):
        other.write_bytes(gzip.compress(path.read_bytes()))
    elif suffix.endswith(".fz"):
        with fits.open(path) as hdus:
            fits.HDUList(
                [
                    fits.PrimaryHDU(),
                    fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="RICE_1"),
                ]
            ).writeto(other)
    else:
        other.write_bytes(path.read_bytes())
    done = driven(tmp_path)
    assert not done.errors
    same = done.frames["170225/other"].data.data
    assert np.array_equal(same, done.frames[f"170225/{path.stem}"].data.data)


def test_one_extension_of_several_is_taken(tmp_path):
    write(tmp_path)
    path = next(tmp_path.glob("*/field*"))
    with fits.open(path) as hdus:
        planes = [fits.ImageHDU(hdus[0].data + n, hdus[0].header, name=f"CCD{n}") for n in range(3)]
        fits.HDUList([fits.PrimaryHDU(header=hdus[0].header), *planes]).writeto(
            path.with_name("several.fits")
        )
    for wanted, parts in (([], ["CCD0", "CCD1", "CCD2"]), (["CCD1"], [""]), ([2, 3], ["CCD1", "CCD2"])):
        raws = folder_raws(
            [tmp_path], LSSSSettings(extension=wanted, ignored=[{"files": ["field*", "master*"]}])
        )
        assert [raw.header["part"] for raw in raws] == parts
    (raw,) = [
        one for one in folder_raws([tmp_path], LSSSSettings(extension=[7])) if "several" in one.archive_id
    ]
    assert "none of its images is HDU 7; check the setting extension" in raw.header["problem"]


def test_cameras_are_known_by_name_or_read_from_a_file(tmp_path):
    assert LSSSSettings().mpc_code == "J75"
    cafos = LSSSSettings(INSTRUMENT="cafos", FLIPSTAT=False)
    assert (cafos.mpc_code, cafos.flipstat) == ("493", False)
    assert cafos.keywords.filter[0] == "INSFLNAM"
    path = tmp_path / "mine.yaml"
    path.write_text("camera: Mine\nmpc_code: L98\nkeywords: {filter: BAND}\n")
    mine = LSSSSettings(preset=str(path), saturation=4095.0)
    assert (mine.camera, mine.mpc_code, mine.saturation, mine.night) == ("Mine", "L98", 4095.0, "directory")
    assert (mine.name_type, mine.keywords.no_filter) == (LSSSSettings().name_type, "NONE")
    assert LSSSSettings(preset="generic").only == {}
    with pytest.raises(ValueError, match="known by name are lsss, cafos, generic"):
        LSSSSettings(preset="hubble")
