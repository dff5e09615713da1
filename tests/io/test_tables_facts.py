"""Tables out and back: values, what is missing, units, UCDs, descriptions and facts, in every format."""

from __future__ import annotations

import json
import warnings
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from astropy.io.votable import validate
from astropy.table import Table
from astropy.units import Unit
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from virtualobserver.columns import Column, describe
from virtualobserver.errors import DataError, LostFact
from virtualobserver.io.tables import read_any, write_any

HOLDING = ["ecsv", "fits", "h5", "parquet", "vot"]
META = {"project": "p", "table": "detections", "simulated": False, "n": 3, "x": 1.5, "none": None, "id": "12"}

letters = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
words = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'"), min_size=1, max_size=90
)
anything = st.text(st.characters(min_codepoint=33, exclude_categories=["C", "Z"]), min_size=1, max_size=12)
units = st.sampled_from(["", "d", "uJy", "mag", "deg", "mas/yr", "km/s", "pix", "electron", "mag / arcsec2"])
ucds = st.sampled_from(["", "time.epoch", "phot.flux.density", "pos.eq.ra;meta.main", "stat.error;phot.mag"])
values = {
    "float64": st.floats(allow_nan=True, allow_infinity=True),
    "float32": st.floats(width=32, allow_nan=True, allow_infinity=True),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint8": st.integers(0, 255),
    "Int64": st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    "bool": st.booleans(),
    "boolean": st.none() | st.booleans(),
}


@st.composite
def tables(draw, texts=anything):
    n = draw(st.integers(0, 5))
    names = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), min_size=1, max_size=6, unique=True)
    )
    frame, known = {}, {}
    for name in names:
        kind = draw(st.sampled_from([*values, "text"]))
        cells = draw(st.lists(st.none() | texts if kind == "text" else values[kind], min_size=n, max_size=n))
        frame[name] = pd.Series(cells, dtype=object if kind == "text" else kind)
        known[name] = Column(name, draw(units), draw(ucds), draw(st.just("") | words))
    meta = draw(st.dictionaries(letters, st.none() | st.booleans() | st.integers() | letters, max_size=3))
    return pd.DataFrame(frame), known, meta


def same(back, frame, known, meta):
    assert list(back) == list(frame)
    for name in frame:
        missing = frame[name].isna().to_numpy(dtype=bool)
        np.testing.assert_array_equal(back[name].isna().to_numpy(dtype=bool), missing, name)
        assert back[name][~missing].tolist() == frame[name][~missing].tolist(), name
    attrs = back.attrs
    assert {name: Unit(unit) for name, unit in attrs["units"].items()} == {
        name: Unit(column.unit) for name, column in known.items() if column.unit
    }
    assert attrs.get("ucds", {}) == {name: column.ucd for name, column in known.items() if column.ucd}
    assert attrs.get("descriptions", {}) == {n: c.description for n, c in known.items() if c.description}
    assert attrs.get("meta", {}) == meta


@pytest.mark.parametrize("suffix", HOLDING)
@settings(
    max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_out_and_back_is_equal(suffix, tmp_path, data):
    frame, known, meta = data.draw(tables(letters if suffix == "fits" else anything))
    path = tmp_path / f"t.{suffix}"
    write_any(frame, path, columns=known, meta=meta)
    back = read_any(path)
    same(back, frame, known, meta)
    # and what was read can be written as it is, in another format as well
    again = tmp_path / "again.parquet"
    write_any(back, again)
    same(read_any(again), frame, known, meta)


def example():
    names = ("source", "peak_mjd", "bjd_tdb", "ra", "dec", "snr", "flux", "band", "simulated", "event")
    frame = pd.DataFrame(
        {
            "source": ["a", "α Cen"], "peak_mjd": [58340.5, 58341.5], "bjd_tdb": [2458340.5, np.nan],
            "ra": [1.5, 2.0], "dec": [-1.0, 5.0], "snr": [5.0, -6.0], "flux": [10.0, 11.0], "band": ["g", "r"],
            "simulated": [True, False], "event": pd.array([None, 2], dtype="Int64"),
        }
    )  # fmt: skip
    return frame, {name: describe(name, unit="electron" if name == "flux" else None) for name in names}


def test_a_votable_is_valid_and_says_frame_scales_project_table_and_simulated(tmp_path):
    frame, known = example()
    write_any(frame, tmp_path / "t.vot", columns=known, meta=META)
    text = (tmp_path / "t.vot").read_text()
    report = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert validate(str(tmp_path / "t.vot"), output=_Text(report), xmllint=False), (
            report.getvalue().decode()
        )
    assert 'arraysize="1"' not in text
    assert 'system="ICRS"' in text
    assert 'timescale="UTC"' in text
    assert 'timeorigin="JD-origin" timescale="TDB"' in text
    for name, value in (("project", "p"), ("table", "detections"), ("simulated", "false")):
        assert f'name="{name}" value="{value}"' in text
    ids = [part.split('"')[0] for part in text.split(' ID="')[1:]]
    assert len(ids) == len(set(ids))
    table = Table.read(tmp_path / "t.vot")
    assert table["peak_mjd"].description == known["peak_mjd"].description
    assert table["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert str(table["flux"].unit) == "electron"
    assert table["event"].mask.tolist() == [True, False]


class _Text:
    """A stream of text over bytes, as the validator wants to write."""

    def __init__(self, stream):
        self.write = lambda text: stream.write(text if isinstance(text, bytes) else text.encode())


def test_parquet_is_voparquet_for_astropy_and_plain_for_pandas(tmp_path):
    frame, known = example()
    write_any(frame, tmp_path / "t.parquet", columns=known, meta=META)
    table = Table.read(tmp_path / "t.parquet", format="parquet.votable")
    assert len(table) == 2
    assert table["peak_mjd"].unit == Unit("d")
    assert table["ra"].unit == Unit("deg")
    assert table["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert table["snr"].description == known["snr"].description
    assert list(table["peak_mjd"]) == [58340.5, 58341.5]
    plain = pd.read_parquet(tmp_path / "t.parquet")
    assert list(plain) == list(frame)
    assert plain["source"].tolist() == ["a", "α Cen"]
    assert plain["peak_mjd"].tolist() == [58340.5, 58341.5]


def test_parquet_files_of_before_keep_their_units(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    extra = {b"units": b'{"x": "mag"}', b"meta": b'{"a": 1}'}
    pq.write_table(pa.table({"x": [1.0]}).replace_schema_metadata(extra), tmp_path / "t.parquet")
    assert read_any(tmp_path / "t.parquet").attrs == {"units": {"x": "mag"}, "meta": {"a": 1}}


def test_fits_has_the_cards_that_topcat_reads(tmp_path):
    from astropy.io import fits

    frame, known = example()
    with pytest.warns(LostFact, match=r"'α Cen' becomes '\\\\u03b1 Cen'"):
        write_any(frame, tmp_path / "t.fits", columns=known, meta=META)
    header = fits.getheader(tmp_path / "t.fits", 1)
    number = list(frame).index("ra") + 1
    assert (header[f"TUNIT{number}"], header[f"TUCD{number}"]) == ("deg", "pos.eq.ra;meta.main")
    assert header[f"TCOMM{number}"] == known["ra"].description
    assert (header["PROJECT"], header["TABLE"], header["SIMULATE"]) == ("p", "detections", False)
    assert header["RADESYS"] == "ICRS"
    assert json.loads(header["VOMETA"]) == META
    assert read_any(tmp_path / "t.fits").attrs["meta"] == META


def test_ecsv_has_what_astropy_shows(tmp_path):
    frame, known = example()
    write_any(frame, tmp_path / "t.ecsv", columns=known, meta=META)
    table = Table.read(tmp_path / "t.ecsv")
    assert (table["ra"].unit, table["ra"].description) == (Unit("deg"), known["ra"].description)
    assert table["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert dict(table.meta) == META


def test_csv_warns_of_what_it_cannot_hold(tmp_path):
    frame, known = example()
    with pytest.warns(LostFact, match=r"CSV holds no units, descriptions, UCDs, facts \(project, table"):
        write_any(frame, tmp_path / "t.csv", columns=known, meta=META)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_any(frame, tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("suffix", "column", "words"),
    [
        ("vot", ["a\x01b"], "cannot stand in XML"),
        ("vot", np.array([2**64 - 1], dtype="u8"), "a type that VOTable does not know"),
        *(
            (suffix, pd.to_datetime(["2020-01-01"]), "holds times")
            for suffix in ("vot", "fits", "ecsv", "h5")
        ),
    ],
)
def test_what_a_format_has_no_place_for_is_refused_by_name(suffix, column, words, tmp_path):
    with pytest.raises(DataError, match=words):
        write_any(pd.DataFrame({"x": column}), tmp_path / f"t.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_names_used_twice_are_refused(tmp_path):
    with pytest.raises(DataError, match="used twice: x"):
        write_any(pd.DataFrame([[1, 2]], columns=["x", "x"]), tmp_path / "t.vot")


def test_a_unit_that_nobody_knows_is_kept_as_it_is(tmp_path):
    for suffix in HOLDING:
        write_any(pd.DataFrame({"x": [1.0]}), tmp_path / f"t.{suffix}", units={"x": "furlongs"})
        assert read_any(tmp_path / f"t.{suffix}").attrs["units"] == {"x": "furlongs"}
