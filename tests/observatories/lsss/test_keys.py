"""Keys of the programs that were there before: each is taken, or refused with what stands for it here."""

from __future__ import annotations

import re

import pytest

from virtualobserver import plugins
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.config import load
from virtualobserver.errors import ConfigError, UnknownKeyError
from virtualobserver.observatories.lsss import LSSSSettings

SURVEY, LIGHT = "observatories.lsss", "observatories.lsss.photometry"
CHAIN, OUTLIERS = "analyses.moving_objects.ssos", "analyses.image_quality.outliers"
SEXTRACTOR = "DETECT_THRESH DETECT_MINAREA FILTER DEBLEND_NTHRESH DEBLEND_MINCONT PHOT_AUTOPARAMS SATUR_LEVEL BACK_SIZE"
SCAMP = (
    "CROSSID_RADIUS ASTREF_CATALOG MATCH SOLVE_ASTROM PROPERMOTIONS ASTRCLIP_NSIGMA DISTORT_DEGREES POSITION_MAXERR "
    "PIXSCALE_MAXERR POSANGLE_MAXERR SN_THRESHOLDS FLAGS_MASK SOLVE_PHOTOM"
)
FILABRES = (
    "instrument datadir gaiadr_source tweak_order_astrometry ignored_images_file image_header_corrections_file "
    "forced_classifications_file default_param config_sex config_scamp"
)


def given(section, key, value):
    """Return all settings, with a key in one section."""
    plain = {
        "name": "keys",
        "catalog": {"rows": [{"name": "field", "ra": 150.0, "dec": 20.0, "kind": "field"}]},
        "observatories": {"lsss": {}},
        "analyses": {"image_quality": {}, "moving_objects": {"method": "ssos"}},
    }
    return load(plain, [f"{section}.{key}={value}"], resolve=plugins.settings_of).settings


def refused(section, key, value="1"):
    with pytest.raises(UnknownKeyError) as error:
        given(section, key, value)
    return str(error.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "ours"),
    [
        (SURVEY, "INSTRUMENT", "cafos", ("preset", "cafos")), (SURVEY, "FLIPSTAT", "false", ("flipstat", False)),
        (LIGHT, "MAX_MAG", 15.5, ("photometry.faintest", 15.5)), (LIGHT, "MIN_MAG", 11, ("photometry.brightest", 11)),
        (LIGHT, "MAX_MAGERR", 0.2, ("photometry.max_mag_error", 0.2)), (LIGHT, "R2", 0.9, ("photometry.r2", 0.9)),
        (LIGHT, "SIGM", 2.5, ("photometry.zero_clip", 2.5)),
    ],
)  # fmt: skip
def test_keys_of_autossos_are_taken(section, key, value, ours):
    found = given(section, key, value).observatories["lsss"]
    for name in ours[0].split("."):
        found = getattr(found, name)
    assert found == ours[1]


@pytest.mark.parametrize(("value", "action"), [("true", "retry(1)"), ("false", "drop")])
def test_outliers_are_solved_again_as_recalib_says(value, action):
    assert given(OUTLIERS, "RECALIB", value).analyses["image_quality"].outliers.action == action


def test_the_group_of_world_coordinates_has_its_other_name():
    assert given(SURVEY, "astrometry.refine", "false").observatories["lsss"].solve.refine is False
    plain = LSSSSettings(astrometry={"refine": True}, INSTRUMENT="cafos")
    assert (plain.solve.refine, plain.solve.pixel_scale, plain.preset) == (True, 0.53, "cafos")


def test_recalib_is_true_or_false_and_stands_alone():
    with pytest.raises(ConfigError, match=r"RECALIB should be true \(action: retry\(1\)\) or false"):
        given(OUTLIERS, "RECALIB", 3)
    with pytest.raises(ConfigError, match="RECALIB and action are two values for one setting"):
        given("analyses.image_quality", "outliers", "{RECALIB: true, action: keep}")


@pytest.mark.parametrize("key", ["MIN_MAG", "MAX_MAG", "MAX_MAGERR", "SIGM", "R2"])
def test_a_key_in_another_section_is_told_its_place(key):
    assert f"{key} does not stand here but below photometry" in refused(SURVEY, key)
    assert "preset says which camera" in refused(SURVEY, "instrument")
    assert "INSTRUMENT stands one level higher" in refused(LIGHT, "INSTRUMENT", "lsss")


@pytest.mark.parametrize("key", ["RECALIB", *FILABRES.split(), *SEXTRACTOR.split(), *SCAMP.split()])
def test_keys_of_the_programs_are_told_what_stands_for_them(key):
    for section in (SURVEY, LIGHT):
        assert f"{section}.{key}: {key} is no key here; {LSSSSettings.older[key]}" in refused(section, key)


def test_what_stands_for_a_key_is_a_setting():
    settings = LSSSSettings()
    told = {path for hint in LSSSSettings.older.values() for path in re.findall(r"\b[a-z]+\.[a-z_]+\b", hint)}
    for path in told - {"analyses.image_quality"}:  # of another section
        group, name = path.split(".")
        assert hasattr(getattr(settings, group), name), path
    assert len(told) > 6


def test_the_chain_takes_all_keys_of_its_program_and_says_where_the_last_one_stands():
    taken = {
        "REFERENCE_FILTER": "r",
        "FIXED_APER_MAGS": "true",
        "CROSSMATCH_RADIUS": "20",
        "DATE-OBS": "DATE",
    }
    for key, value in taken.items():
        given(CHAIN, key, value)
    found = MovingObjectsSettings(ssos={"REFERENCE_FILTER": "r", "OBSERVATORY_CODE": "J75"}).ssos
    assert (found.reference_filter, found.elsewhere) == ("r", {"OBSERVATORY_CODE": "J75"})
    assert "refcat of the survey names the catalogue" in refused(CHAIN, "ASTREF_CATALOG", "GAIA-DR2")
    assert "PM_UP does not stand here but below ssos" in refused("analyses.moving_objects", "PM_UP", "300")
