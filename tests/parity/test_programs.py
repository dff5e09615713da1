"""External programs give the tables that the built-in recipe gives: sources by SExtractor, plates by SCAMP."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from support.lsss import aux_of, first_frame
from support.programs import needs

from virtualobserver.ccd.programs import SOURCE_EXTRACTOR
from virtualobserver.data import as_handle
from virtualobserver.observatories.lsss import VirtualLSSS

NIGHT = {"frames": 1, "size": (400, 500), "stars": 600, "satellites": 0.0}
BRIGHT = 30.0
"""Signal-to-noise ratio of sources on which both have to agree."""


@pytest.fixture(scope="module")
def frame():
    return first_frame(survey())


def survey(**options):
    return VirtualLSSS(refcat="gaia@dr3", simulation=NIGHT, **options)


def tables(frame, **options):
    """Return the tables of a frame by role."""
    own = survey(**options)
    aux = aux_of(own)
    handles = [as_handle(frame)]
    made = own.refine("solve", handles, aux, own.settings)
    made += own.refine("photometry", [*handles, *map(as_handle, made)], aux, own.settings)
    return {one.role: one for one in made}


@pytest.fixture(scope="module")
def builtin(frame):
    return tables(frame)


@pytest.fixture(scope="module")
def extracted(frame):
    needs(SOURCE_EXTRACTOR)
    return tables(frame, detect={"program": "source-extractor"})


def paired(one, other):
    """Return the bright sources of one table that are in the other within a pixel, and how many there are."""
    bright = np.flatnonzero((one["snr"] > BRIGHT) & (one["flags"] == 0) & ~one["truncated"])
    tree = cKDTree(np.stack([other["x"], other["y"]], axis=1))
    away, there = tree.query(np.stack([one["x"], one["y"]], axis=1)[bright])
    return bright[away < 1], there[away < 1], len(bright)


def test_source_extractor_gives_the_same_columns_units_and_kinds(builtin, extracted):
    assert set(builtin) == set(extracted) == {"wcs", "sources", "forced", "zeropoint"}
    for role, product in builtin.items():
        ours, theirs = product.data, extracted[role].data
        assert ours.columns.keys() == theirs.columns.keys()
        assert ours.units == theirs.units
        assert {key: ours[key].dtype.kind for key in ours.columns} == {
            key: theirs[key].dtype.kind for key in theirs.columns
        }


def test_bright_sources_of_source_extractor_are_ours_in_place_light_and_shape(builtin, extracted):
    ours, theirs = builtin["sources"].data, extracted["sources"].data
    mine, their, count = paired(ours, theirs)
    assert count > 50
    assert len(mine) >= 0.95 * count
    away = np.hypot(ours["x"][mine] - theirs["x"][their], ours["y"][mine] - theirs["y"][their])
    assert np.median(away) < 0.02
    assert np.percentile(away, 95) < 0.1
    ratio = theirs["flux_6"][their] / ours["flux_6"][mine]
    assert np.percentile(np.abs(ratio - 1), 95) < 0.03
    for name, most in (("fwhm", 0.05), ("elongation", 0.05), ("snr", 0.1), ("x_error", 0.4)):
        assert np.median(theirs[name][their] / ours[name][mine]) == pytest.approx(1, abs=most), name
    assert np.mean(theirs["source_id"][their] == ours["source_id"][mine]) > 0.98
    assert np.nanmedian(np.abs(theirs["mag"][their] - ours["mag"][mine])) < 0.01


def test_the_same_threshold_finds_as_many_sources(builtin, extracted):
    ours, theirs = (len(one["sources"].data["x"]) for one in (builtin, extracted))
    assert ours == pytest.approx(theirs, rel=0.1)


def test_products_say_which_program_made_them_in_which_version(builtin, extracted):
    assert "detected_by" not in builtin["sources"].statistics
    for role in ("sources", "wcs"):
        assert extracted[role].statistics["detected_by"].startswith("source-extractor 2")
    assert extracted["sources"].data.meta["detected_by"] == extracted["sources"].statistics["detected_by"]
