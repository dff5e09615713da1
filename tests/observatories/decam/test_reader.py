"""The planes of the Community Pipeline: real stamps of two eras, headers, names, masks."""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import json
import re
import tarfile

import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.io.fits import Header
from astropy.wcs import WCS
from support.real import real_data

from virtualobserver.conventions import (
    MASK_BAD,
    MASK_BLEED,
    MASK_COSMIC_RAY,
    MASK_HALO,
    MASK_INTERPOLATED,
    MASK_LOW_WEIGHT,
    MASK_NO_DATA,
    MASK_SATURATED,
    MASK_STREAK,
)
from virtualobserver.data.product import RawRef
from virtualobserver.data.table import Table
from virtualobserver.errors import ConfigError, DataError, NotEnoughData
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.decam.astrometry import register
from virtualobserver.observatories.decam.folder import find_exposures, pointed_exposures, raws_of
from virtualobserver.observatories.decam.header import (
    KEYS,
    NAMES,
    chip_facts,
    chip_name,
    exposure_facts,
    night_of,
)
from virtualobserver.observatories.decam.masks import has_codes, read_mask
from virtualobserver.observatories.decam.names import parse_name
from virtualobserver.observatories.decam.reader import read_box, read_frame
from virtualobserver.observatories.decam.settings import DECamSettings

WORLD = re.compile(r"(NAXIS|CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CD|[AB]P?_|LONPOLE|LATPOLE|RADESYS|EQUINOX)")


def frames(folder, **settings):
    own = DECamSettings(**settings)
    for exposure in find_exposures([folder], own):
        raws = [RawRef.of(raw) for raw in raws_of(exposure, own)]
        yield exposure, raws


def test_stamps_have_their_codes_and_no_weight_exactly_where_they_are_masked():
    found = list(frames(real_data("decam", "legacypipe")))
    assert len(found) == 13
    seen = set()
    for exposure, raws in found:
        assert {raw.header["plane"] for raw in raws} == {"image", "dqmask", "weight"}
        frame = read_frame(raws)
        path = exposure.files["dqmask"][0]
        with afits.open(path) as units, afits.open(exposure.files["image"][0]) as image:
            codes = np.asarray(units[1].data)
            data, header = image[1].data, image[1].header
        seen |= set(np.unique(codes).tolist())
        assert np.array_equal(np.isinf(frame.variance), codes != 0)
        assert np.array_equal(frame.mask != 0, codes != 0)
        for code, bits in (
            (1, MASK_BAD),
            (3, MASK_SATURATED),
            (5, MASK_COSMIC_RAY),
            (4, MASK_BLEED | MASK_HALO),
        ):
            assert np.array_equal((frame.mask & bits) != 0, codes == code)
        gain = (header["GAINA"] + header["GAINB"]) / 2  # of a cut-out nobody knows the half
        assert frame.data == pytest.approx(data * gain, rel=1e-5)
        assert frame.facts["solved"]
        if not (codes == 3).any():  # away from very bright stars
            assert np.median(frame.data) / gain == pytest.approx(header["AVSKY"], rel=0.03)
        # sky and read noise are what the weights are made of
        noise = np.median(frame.variance) / (np.median(frame.data) + frame.facts["read_noise"] ** 2)
        assert noise == pytest.approx(1.0, abs=0.15)
    assert seen == {0, 1, 3, 4, 5}


def test_bleeds_that_touch_no_saturation_are_halos():
    _, raws = next(one for one in frames(real_data("decam", "legacypipe", "testcase6")))
    frame = read_frame(raws)
    bleed, core = (frame.mask & MASK_BLEED) != 0, (frame.mask & MASK_SATURATED) != 0
    assert bleed.any()
    assert core.any()
    # no bleed in a column that has no saturated pixel within two of it
    columns = np.flatnonzero(core.any(axis=0))
    assert np.abs(np.flatnonzero(bleed.any(axis=0))[:, None] - columns).min(axis=1).max() <= 2


@pytest.mark.parametrize(
    ("version", "codes"),
    [("V4.8.2a", True), ("V3.6.2", True), ("V5.5LS", True), ("5.0beta", True), ("V3.5.0", True), ("V3.4.9", False),
     ("V2.1", False), ("DES 2.1", False), ("DES Y6A1", None), ("", None)],
)  # fmt: skip
def test_versions_tell_codes_from_bits(version, codes):
    assert has_codes(version) is codes


def test_codes_and_bits_are_not_taken_for_each_other():
    values = np.array([[0, 1, 2, 3], [3, 4, 5, 8], [6, 7, 9, 0]])
    found = read_mask(values, "V5.5")
    assert found[0].tolist() == [0, MASK_BAD | MASK_INTERPOLATED, MASK_NO_DATA, MASK_SATURATED]
    assert found[1, 2:].tolist() == [MASK_COSMIC_RAY, MASK_STREAK]
    assert found[2].tolist() == [MASK_LOW_WEIGHT, MASK_LOW_WEIGHT, MASK_NO_DATA, 0]
    bits = read_mask(np.array([[1, 2, 3, 4, 16, 64, 128, 66, 256]]), "V3.2")
    assert bits[0].tolist() == [
        MASK_BAD, MASK_SATURATED, MASK_BAD | MASK_SATURATED, MASK_INTERPOLATED, MASK_COSMIC_RAY, MASK_BLEED,
        MASK_LOW_WEIGHT, MASK_BLEED | MASK_SATURATED, MASK_NO_DATA,
    ]  # fmt: skip
    assert read_mask(np.array([[64]]), "")[0, 0] == MASK_BLEED  # no code is 64
    assert read_mask(np.array([[3]]), "")[0, 0] == MASK_SATURATED


def test_names_of_the_archive_and_of_renamed_sets():
    assert parse_name("c4d_211211_015142_ooi_VR_v1.fits.fz").plane == "image"
    assert parse_name("c4d_211211_015142_oow_VR_v12.fits.fz").version == 12
    assert parse_name("c4d_150411_035242_ood_z_v1-N10.fits").plane == "dqmask"
    found = parse_name("c4d_2021B0023-exp_1058800-dqmask.fits")
    assert (found.plane, found.exposure) == ("dqmask", 1058800)
    assert parse_name("c4d_x-exp_7-sci.fits", image="sci").plane == "image"
    assert parse_name("c4d_x-exp_7-sci.fits").plane == ""


def chips():
    """Return the headers of the chips of one real exposure: (of the camera, of the plate)."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    with tarfile.open(real_data("decam", "headers", "decam_imdiff_headers.ecsv.tar.bz2")) as archive:
        text = io.TextIOWrapper(archive.extractfile(archive.getmembers()[0]), encoding="utf-8")
        for row in csv.DictReader((line for line in text if not line.startswith("#")), delimiter=" "):
            if row["hdu"] in "01":
                kind = {"int": int, "float": float}.get(row["format"], str)
                with contextlib.suppress(ValueError):
                    found[row["filename"]][row["hdu"]][row["keyword"]] = kind(row["value"])
    return [(one["0"], one["1"]) for one in found.values()]


def test_headers_of_61_chips_of_a_real_exposure():
    expected = json.loads(real_data("decam", "expected", "focal_plane.json").read_text(encoding="utf-8"))[
        "ccds"
    ]
    found = {}
    for first, plate in chips():
        facts = exposure_facts(first)
        assert (facts["exposure"], facts["band"], facts["exptime"]) == (1031745, "VR", 120.0)
        assert facts["night"] == first["DTCALDAT"] == "2021-09-09"
        assert facts["notes"] == ["no MJD-OBS: OPENSHUT taken"]
        chip = chip_facts({**first, **plate, "EXTNAME": first["EXTNAME"]})
        found[chip["ccd"]] = chip
        a, b = ([first[f"GAIN{letter}"], first[f"RDNOISE{letter}"]] for letter in "AB")
        low = int(first["CCDSECA"].strip("[").partition(":")[0]) < 1024
        assert chip["amplifiers"] == ([a, b] if low else [b, a])
        wcs = WCS(Header({k: v for k, v in plate.items() if WORLD.match(k)}))
        ra, dec = wcs.all_pix2world((plate["NAXIS1"] - 1) / 2, (plate["NAXIS2"] - 1) / 2, 0)
        assert separation(chip["ra"], chip["dec"], float(ra), float(dec)) < 0.02  # without the distortion
    assert set(found) == set(expected)
    assert len(found) == 61
    assert "S30" not in found
    halves = {first["CCDSECA"].startswith("[1:") for first, _ in chips()}
    assert halves == {True, False}  # which half is A is not the same for all chips
    assert 10 < found["S4"]["read_noise"] < 12


class Asked(dict):
    """A header that remembers what it was asked for."""

    def __init__(self, *args, **cards):
        super().__init__(*args, **cards)
        self.keys_asked = set()

    def get(self, key, default=None):
        self.keys_asked.add(key)
        return super().get(key, default)


def test_listings_read_all_that_facts_are_made_of():
    first, plate = chips()[0]
    for header in (Asked(), Asked(first), Asked({**first, **plate}), Asked(ZIMAGE=True, CCDSECA="[1:2,1:2]")):
        exposure_facts(header)
        chip_name(header)
        assert header.keys_asked <= NAMES  # of masks and weights
        chip_facts(header)
        assert header.keys_asked <= KEYS
    assert exposure_facts({k: v for k, v in first.items() if k in KEYS}) == exposure_facts(first)


def test_a_night_is_called_by_the_date_it_begins_on():
    assert night_of(59559.1) == "2021-12-10"
    assert night_of(59558.97) == "2021-12-10"  # 23 h UT
    assert night_of(59559.42) == "2021-12-10"  # 10 h UT
    assert night_of(59559.7) == "2021-12-11"
    # a real header: DTCALDAT is 2019-04-01
    assert night_of(58575.21271276) == "2019-04-01"


@pytest.mark.parametrize(("mjd", "apart"), [(59559.1, False), (59559.2, True), (59558.1, True)])
def test_a_date_that_contradicts_mjd_obs_is_told(mjd, apart):
    facts = exposure_facts(
        {"EXPNUM": 5, "EXPTIME": 20.0, "DATE-OBS": "2021-12-11T02:24:00.0", "MJD-OBS": mjd, "FILTER": "r"}
    )
    said = [f"MJD-OBS = {mjd} contradicts DATE-OBS = 2021-12-11T02:24:00.0; MJD-OBS is taken"]
    assert (facts["mjd_start"], facts["notes"]) == (mjd, said if apart else [])


def test_what_headers_lack_is_taken_and_told():
    facts = exposure_facts({"EXPNUM": 5, "DATE-OBS": "2021-12-11T02:24:00.0", "OPENSHUT": "2021-12-11T02:24:08.2",
                            "DARKTIME": 19.0, "SCAMPFLG": 0, "WCSCAL": "Failed", "MAGZPT": 26.0})  # fmt: skip
    assert facts["exptime"] == 20.0
    assert facts["mjd_start"] == pytest.approx(59559.1)
    assert facts["magzero"] == pytest.approx(26.0 + 2.5 * np.log10(20))
    assert facts["solved"]
    assert [note.split(":")[0] for note in facts["notes"]] == [
        "no EXPTIME", "no MJD-OBS", "OPENSHUT and DATE-OBS differ by 8.2 s", "DARKTIME is less than EXPTIME",
    ]  # fmt: skip
    assert not exposure_facts({"WCSCAL": "Failed", "SCAMPFLG": 1})["solved"]
    chip = chip_facts({"EXTNAME": "N24"})
    assert chip["fwhm"] == 4.0
    assert [note.split(":")[0] for note in chip["notes"]] == ["no GAINA and RDNOISEA", "no FWHM", "no AVSKY"]


def test_amplifiers_meet_between_two_columns_where_the_header_says_which_half_is_which(tmp_path):
    rng = np.random.default_rng(1)
    pixels = rng.normal(100, 5, (4094, 2046)).astype("f4")
    world = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 92.0, "CRVAL2": -70.0, "CRPIX1": 1, "CRPIX2": 1,
             "CD1_1": 0.0, "CD1_2": 7.3e-5, "CD2_1": -7.3e-5, "CD2_2": 0.0}  # fmt: skip
    amps = {"GAINA": 4.0, "GAINB": 3.6, "RDNOISEA": 6.0, "RDNOISEB": 10.2}

    def one(**cards):
        unit = afits.ImageHDU(pixels, name="N24")
        unit.header.update(world | amps | cards)
        first = afits.PrimaryHDU()
        first.header.update({"EXPNUM": 7, "MJD-OBS": 59559.1, "EXPTIME": 20.0, "FILTER": "VR DECam"})
        path = tmp_path / "c4d_x-exp_7-image.fits"
        afits.HDUList([first, unit]).writeto(path, overwrite=True)
        ((_, raws),) = frames(tmp_path)
        return read_frame(raws).data / pixels

    mean = one()
    assert mean.min() == pytest.approx(mean.max()) == pytest.approx(3.8)
    split = one(DATASECA="[1025:2048,1:4096]", DATASECB="[1:1024,1:4096]")
    assert split[:, :1023] == pytest.approx(3.6)
    assert split[:, 1023:] == pytest.approx(4.0)


def test_the_highest_version_is_read_and_equal_names_of_two_nights_stay_apart(tmp_path):
    def write(path, level, mjd):
        first = afits.PrimaryHDU()
        first.header.update({"EXPNUM": 7, "MJD-OBS": mjd, "EXPTIME": 20.0, "FILTER": "VR DECam"})
        unit = afits.ImageHDU(np.full((8, 8), level, "f4"), name="S3")
        unit.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 9.0, "CRVAL2": 1.0, "CRPIX1": 4,
                            "CRPIX2": 4, "CD1_1": 7e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 7e-5, "GAINA": 1.0,
                            "RDNOISEA": 5.0})  # fmt: skip
        path.parent.mkdir(exist_ok=True)
        afits.HDUList([first, unit]).writeto(path)

    for folder, mjd in (("n1", 59559.1), ("n2", 59560.1)):
        for version in (1, 10, 9):
            write(tmp_path / folder / f"c4d_211211_015142_ooi_VR_v{version}.fits", 100 * version + mjd, mjd)
    found = list(frames(tmp_path))
    assert [exposure.facts["night"] for exposure, _ in found] == ["2021-12-10", "2021-12-11"]
    assert [exposure.files["image"][2] for exposure, _ in found] == [10, 10]
    assert float(np.median(read_frame(found[1][1]).data)) == pytest.approx(1000 + 59560.1, rel=1e-5)
    both = find_exposures([tmp_path / "n1", tmp_path / "n2"], DECamSettings())
    assert [one.files["image"][1] for one in both] == [
        "c4d_211211_015142_ooi_VR_v10.fits", "n2/c4d_211211_015142_ooi_VR_v10.fits",
    ]  # fmt: skip
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "c4d_211211_015142_ooi_VR_v1.fits").write_bytes(b"<html>")
    ((_, raws),) = frames(tmp_path / "bad")
    with pytest.raises(DataError, match="a web page"):
        read_frame(raws)


def small(path, chips, *, plane="image", data=None, **cards):
    """Write a file of small chips: name to what its header has instead of EXTNAME, None for EXTNAME."""
    first = afits.PrimaryHDU()
    first.header.update({"EXPNUM": 7, "MJD-OBS": 59559.1, "EXPTIME": 20.0, "FILTER": "VR DECam", **cards})
    units = [first]
    for level, (name, instead) in enumerate(chips):
        unit = afits.ImageHDU(np.full((8, 8), 100.0 + level, "f4") if data is None else data)
        unit.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 9.0, "CRVAL2": 1.0, "CRPIX1": 4,
                            "CRPIX2": 4, "CD1_1": 7e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 7e-5, "GAINA": 1.0,
                            "RDNOISEA": 5.0})  # fmt: skip
        unit.header.update({"EXTNAME": name} if instead is None else instead)
        units.append(unit)
    afits.HDUList(units).writeto(path / f"c4d_x-exp_7-{plane}.fits")


def test_chips_without_extname_are_read_by_detpos_and_those_without_either_are_told(tmp_path):
    small(tmp_path, [("S3", {"DETPOS": "S3"}), ("N4", None), ("", {})])
    ((_, raws),) = frames(tmp_path)
    assert [raw.key for raw in raws] == ["S3", "N4"]
    for raw, level in zip(raws, (100, 101), strict=True):
        frame = read_frame([raw])
        assert (frame.data == level).all()
        assert "1 HDUs without EXTNAME and DETPOS" in frame.facts["notes"]
        assert (read_box([raw], slice(2, 4), slice(3, 6), 2.0)[0] == 2 * level).all()
    (tmp_path / "c4d_x-exp_7-image.fits").unlink()
    small(tmp_path, [("", {}), ("", {})])
    ((_, raws),) = frames(tmp_path)
    with pytest.raises(DataError, match="no HDU has an EXTNAME or DETPOS"):
        read_frame(raws)


def test_a_mask_of_fewer_chips_is_none_for_the_others_and_one_that_cannot_be_read_says_so(tmp_path):
    small(tmp_path, [("S3", None), ("N4", None)], PLVER="V5.0")
    small(tmp_path, [("N4", None)], plane="dqmask", data=np.full((8, 8), 5, "i2"))
    ((_, raws),) = frames(tmp_path)
    both = {key: read_frame([raw for raw in raws if raw.key == key]) for key in ("S3", "N4")}
    assert [("no mask" in frame.facts["notes"], bool(frame.mask.all())) for frame in both.values()] == [
        (True, False), (False, True),
    ]  # fmt: skip
    path = tmp_path / "c4d_x-exp_7-dqmask.fits"
    path.write_bytes(path.read_bytes()[:2000])
    found = [raws for exposure, raws in frames(tmp_path) if exposure.problem]
    with pytest.raises(DataError, match=r"dqmask\.fits, HDU 0: .*corrupt"):
        read_frame(found[0])


def test_values_of_a_mask_that_are_no_numbers_are_no_data():
    values = np.array([[0.0, 5.0], [np.nan, np.inf]])
    assert read_mask(values, "V5.0").tolist() == [[0, MASK_COSMIC_RAY], [MASK_NO_DATA, MASK_NO_DATA]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            np.full((64, 64), np.nan, "f4"),
            "S3 of exposure 7: no pixel is good; all are masked, have no weight",
        ),
        (np.full((64, 64), 100.0, "f4"), "S3 of exposure 7: no trail stands out by"),
    ],
)
def test_frames_of_nothing_say_which_they_are_and_why(tmp_path, data, said):
    small(tmp_path, [("S3", None)], data=data)
    ((_, raws),) = frames(tmp_path)
    stars = Table(dict.fromkeys(("ra", "dec", "mag", "pmra", "pmdec"), np.zeros(0)))
    with pytest.raises(NotEnoughData, match=said):
        register(read_frame(raws), stars, DECamSettings().drift_astrom)


def test_masks_and_weights_can_be_left_aside():
    folder = real_data("decam", "sim")
    whole = {exposure.facts["exposure"]: raws for exposure, raws in frames(folder)}
    found = {exposure.facts["exposure"]: raws for exposure, raws in frames(folder, read_mask=False)}
    assert set(found) == set(whole)
    for number, raws in found.items():
        assert {raw.header["plane"] for raw in raws} == {"image"}
        assert {raw.key for raw in raws} == {raw.key for raw in whole[number]}
    raws, others = found[1058801], whole[1058801]
    assert {raw.header["plane"] for raw in others} > {"image"}
    frame, other = read_frame(raws), read_frame(others)
    assert "no mask" in frame.facts["notes"]
    assert "no mask" not in other.facts["notes"]
    assert not frame.mask.any()
    assert other.mask.any()
    assert np.array_equal(frame.data, other.data)
    assert np.isfinite(frame.variance).all()
    # without weights: of sky and read noise, as where nothing is masked
    good = (other.mask == 0) & np.isfinite(other.variance)
    assert np.median(frame.variance[good] / other.variance[good]) == pytest.approx(1, abs=0.3)


def test_exposures_are_pointed_by_header_or_by_list(tmp_path):
    folder = real_data("decam", "sim")
    drift = {one.facts["exposure"]: one.facts["drift"] for one in find_exposures([folder], DECamSettings())}
    assert drift == {12923: False, 13253: False, 1058801: True, 1058802: True}
    listed = tmp_path / "pointed.yaml"
    listed.write_text("night1: [1058802, exp_13253]\n")
    own = DECamSettings(pointed_images_yaml_path=str(listed))
    assert pointed_exposures(own) == {1058802, 13253}
    drift = {one.facts["exposure"]: one.facts["drift"] for one in find_exposures([folder], own)}
    assert drift == {12923: False, 13253: False, 1058801: True, 1058802: False}
    listed.write_text("night1: some\n")
    with pytest.raises(ConfigError, match="holds 'some', which is no exposure"):
        pointed_exposures(own)
    kept = DECamSettings(read_mask=False)
    assert {plane for one in find_exposures([folder], kept) for plane in one.files} == {"image"}


def test_keys_of_the_published_demonstration_are_understood():
    published = {
        "drifts_dirs": ["night1", "night2"], "photometry_cat_path": "master_catalogue.csv", "ccd": ["N24", "N22"],
        "pointed_images_yaml_path": "pointed.yaml", "img_keyword": "image", "mask_keyword": "dqmask", "read_mask": True,
        "drift_astrom": {"track_rate": 0.5, "anchor": "m"}, "read_targets": True,
        "drift_skysub": {"cutout_size": 100, "length": 40, "radius": 7, "pad": 5},
        "targets": {"csv_path": "rrlyrae.csv", "ra_col_name": "RAJ2000", "dec_col_name": "DEJ2000",
                    "separation_cut": 1.0, "subset": {"key": "Type", "values": ["RRab"]}},
    }  # fmt: skip
    own = DECamSettings(**published)
    assert own.archive == ["night1", "night2"]
    assert own.reference_catalogue == "master_catalogue.csv"
    assert (own.drift_skysub.radius, own.drift_skysub.pad) == (7, 5)
    assert own.targets.subset.values == ["RRab"]
    with pytest.raises(ValueError, match="pdf_output"):
        DECamSettings(**published, pdf_output="demo.pdf")
