"""Containers of any content, and what makes two of them equal."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from virtualobserver.data import Image, SpectrumSet, Table, TimeSeries

NUMBERS = st.floats(-1e6, 1e6, width=32)
UNITS = ("uJy", "mJy", "electron", "km/s", "", "adu")
NAMES = st.sampled_from(["ra", "exptime", "chi", "airmass", "zp", "quality", "name"])
META = st.dictionaries(
    st.sampled_from(["oid", "field", "note", "nested", "flag"]),
    st.one_of(st.integers(-5, 5), st.text("abc é", max_size=5), st.booleans(), st.lists(st.integers(0, 3))),
    max_size=3,
)
TEXT = st.text("abcµ -_", max_size=6)


@st.composite
def columns(draw, n, *, flat=False):
    """Return columns of numbers, whole numbers, truths, texts and times."""
    kinds = {
        "f": hnp.arrays(np.float64, n, elements=st.one_of(NUMBERS, st.just(np.nan))),
        "e": hnp.arrays(np.float32, n, elements=NUMBERS),
        "i": hnp.arrays(np.int64, n, elements=st.integers(-(2**62), 2**62)),
        "u": hnp.arrays(np.uint16, n),
        "b": hnp.arrays(np.bool_, n),
        "t": st.lists(TEXT, min_size=n, max_size=n).map(lambda texts: np.array(texts, dtype=str)),
    }
    if not flat:
        kinds["d"] = hnp.arrays(np.int64, n, elements=st.integers(0, 10**15)).map(
            lambda whole: whole.astype("M8[us]")
        )
        kinds["o"] = st.lists(st.one_of(TEXT, st.none()), min_size=n, max_size=n).map(
            lambda texts: np.array(texts, dtype=object)
        )
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    return {name: draw(kinds[draw(st.sampled_from(sorted(kinds)))]) for name in names}


@st.composite
def tables(draw, *, flat=False):
    """Return any table; a `flat` one has only what files hold."""
    found = draw(columns(draw(st.integers(1, 5)), flat=flat))
    numeric = [name for name, values in found.items() if values.dtype.kind == "f"]
    units = {name: draw(st.sampled_from(UNITS)) for name in numeric if draw(st.booleans())}
    return Table(found, units, draw(META))


@st.composite
def curves(draw, *, flat=False):
    """Return any light curve."""
    n = draw(st.integers(1, 6))
    mjd = np.sort(draw(hnp.arrays(np.float64, n, elements=st.floats(50_000, 60_000))))
    own = {
        "mjd": mjd,
        "flux": draw(hnp.arrays(np.float64, n, elements=st.one_of(NUMBERS, st.just(np.nan)))),
        "flux_error": draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1e3))),
        "flags": draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1 << 12))),
    }
    more = draw(columns(n, flat=flat))
    band = draw(st.sampled_from(["", "zg", "i'"]))
    return TimeSeries(own | more, meta=draw(META), band=band, flux_unit=draw(st.sampled_from(UNITS)))


@st.composite
def spectra(draw):
    """Return any set of spectra."""
    n, pixels = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    first, step = draw(st.floats(3000, 9000)), draw(st.floats(0.01, 2))
    shape = (n, pixels)
    epochs = {"mjd": draw(hnp.arrays(np.float64, n, elements=st.floats(50_000, 60_000)))}
    more = {key: v for key, v in draw(columns(n, flat=True)).items() if key != "flux"}
    return SpectrumSet(
        wave=first + step * np.arange(pixels),
        flux=draw(hnp.arrays(np.float64, shape, elements=st.one_of(NUMBERS, st.just(np.nan)))),
        error=draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1e3))),
        mask=draw(hnp.arrays(np.uint8, shape)),
        epochs=Table(epochs | more, {"mjd": "d"}),
        wave_unit=draw(st.sampled_from(["Angstrom", "nm", "um"])),
        flux_unit=draw(st.sampled_from(UNITS)),
        frame=draw(st.sampled_from(["barycentric", "topocentric", "stellar"])),
        medium=draw(st.sampled_from(["air", "vacuum"])),
        meta=draw(META),
    )


WORLD = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRVAL1": 150.25, "CRVAL2": -31.5,
    "CRPIX1": 3.5, "CRPIX2": 2.25, "CD1_1": -2.5e-4, "CD1_2": 1e-6, "CD2_1": 2e-6, "CD2_2": 2.5e-4,
}  # fmt: skip
SIP = WORLD | {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": -2e-5,
    "A_1_1": 3e-6,
}  # fmt: skip


@st.composite
def images(draw):
    """Return any image, with or without variance, mask, world coordinates, HISTORY and undefined cards."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6))
    pixels = {
        "f4": hnp.arrays(np.float32, shape, elements=NUMBERS),
        "f8": hnp.arrays(np.float64, shape, elements=NUMBERS),
        "u2": hnp.arrays(np.uint16, shape),
        "i4": hnp.arrays(np.int32, shape),
    }
    header = dict(draw(st.sampled_from([{}, WORLD, SIP])))
    header |= draw(
        st.dictionaries(
            st.sampled_from(["EXPTIME", "OBJECT", "GAIN", "SIMULATED_AT", "ESO DET ID"]),
            st.one_of(
                st.none(),
                st.integers(-9, 9),
                st.integers(-99, 99).map(lambda n: n / 64),
                st.text("ab 1'", min_size=1).map(str.strip),
            ),
        )
    )
    for key in ("HISTORY", "COMMENT"):
        lines = draw(st.lists(st.text("ab 1", min_size=1, max_size=60).map(str.strip), max_size=3))
        header |= {key: lines} if lines else {}
    maybe = st.booleans()
    return Image(
        data=draw(pixels[draw(st.sampled_from(sorted(pixels)))]),
        variance=draw(hnp.arrays(np.float32, shape, elements=st.floats(0, 100, width=32))) if draw(maybe) else None,
        mask=draw(hnp.arrays(draw(st.sampled_from([np.uint8, np.int32])), shape, elements=st.integers(0, 127)))
        if draw(maybe) else None,
        header=header,
        unit=draw(st.sampled_from(["adu", "ADU", "electron", "uJy", "", "electron/s"])),
    )  # fmt: skip


def assert_same_values(one, other):
    """Assert that two columns hold the same, missing values at the same places."""
    assert len(one) == len(other)
    if one.dtype.kind in "fc":
        np.testing.assert_array_equal(one, other)
        return
    assert one.tolist() == other.tolist()


def assert_same_table(one, other, *, exact_times=True):
    """Assert that two tables or light curves say the same."""
    from virtualobserver.data.units import same_unit

    assert type(one) is type(other)
    assert set(one.columns) == set(other.columns)
    for name in one.columns:
        if name == "mjd" and not exact_times:
            np.testing.assert_allclose(one["mjd"], other["mjd"], rtol=0, atol=1e-9)
            continue
        assert_same_values(one[name], other[name])
        if one[name].dtype.kind in "fiubM":
            assert one[name].dtype.kind == other[name].dtype.kind
    assert set(one.units) == set(other.units)
    assert all(same_unit(one.units[name], other.units[name]) for name in one.units)
    assert one.meta == other.meta
    if isinstance(one, TimeSeries):
        assert one.band == other.band
        assert same_unit(one.flux_unit, other.flux_unit)


def assert_same_spectra(one, other):
    """Assert that two sets of spectra say the same."""
    from virtualobserver.data.units import same_unit

    for name in ("wave", "flux", "error", "mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert_same_table(one.epochs, other.epochs)
    assert (one.frame, one.medium, one.meta) == (other.frame, other.medium, other.meta)
    assert same_unit(one.wave_unit, other.wave_unit)
    assert same_unit(one.flux_unit, other.flux_unit)


def assert_same_image(one, other, *, world_as_cards=True):
    """Assert that two images say the same; world coordinates by the positions they give, if not as cards."""
    from virtualobserver.maths.astrometry.tan_sip import replace_world

    for name in ("data", "variance", "mask"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
    assert one.unit == other.unit
    if world_as_cards:
        assert one.header == other.header
        return
    known = replace_world(other.header, {})
    assert {key: one.header.get(key) for key in known} == known
    x, y = np.meshgrid(np.arange(3.0), np.arange(3.0))
    np.testing.assert_allclose(
        one.wcs.all_pix2world(x, y, 0), other.wcs.all_pix2world(x, y, 0), rtol=0, atol=1e-9
    )
