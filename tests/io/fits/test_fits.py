import gzip
import tracemalloc
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits as afits

from virtualobserver.data import Image
from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.io.fits.files import (
    Keyword,
    part_names,
    plain_header,
    read_header,
    read_image,
    read_keywords,
    read_table,
    read_wcs,
    write_image,
)
from virtualobserver.io.fits.structure import _value, check_structure, quiet, read_cards

PIXELS = np.arange(10_000, dtype="f4").reshape(100, 100)


@pytest.fixture
def image(tmp_path):
    write_image(
        tmp_path / "a.fits", Image(PIXELS, header={"EXPTIME": 30.0, "HISTORY": ["made"]}), history=["by us"]
    )
    return tmp_path / "a.fits"


@pytest.fixture
def table(tmp_path):
    columns = [
        afits.Column("ID", "K", array=[2**62 + 1] * 500),
        afits.Column("F", "D", unit="Jy", array=np.arange(500.0)),
    ]
    afits.BinTableHDU.from_columns([*columns, afits.Column("P", "4E", array=np.zeros((500, 4)))]).writeto(
        tmp_path / "t.fits", checksum=True
    )
    return tmp_path / "t.fits"


@pytest.fixture
def packed(tmp_path):
    afits.CompImageHDU(np.random.default_rng(1).normal(size=(100, 100)).astype("f4")).writeto(
        tmp_path / "c.fits.fz"
    )
    return tmp_path / "c.fits.fz"


def change(path, old, new):
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))


def test_image_comes_back_with_header_and_history(image):
    back = read_image(image)
    np.testing.assert_array_equal(back.data, PIXELS)
    assert back.data.dtype.isnative
    assert back.header["EXPTIME"] == 30.0
    assert back.header["HISTORY"] == ["made", "by us"]
    assert "CHECKSUM" in read_header(image)


def test_table_and_compressed_image_are_read(table, packed):
    back = read_table(table)
    assert back["ID"][0] == 2**62 + 1
    assert back["F"].dtype.isnative
    assert back.units == {"F": "Jy"}
    assert back.meta["not_read"] == ["P"]
    assert read_image(packed).data.shape == (100, 100)


@pytest.mark.parametrize("content", [b"", b"<html>down</html>", b"garbage" * 900, b"SIMPLE  =" + b" " * 40])
def test_fault_14_files_that_are_not_fits(content, tmp_path):
    (tmp_path / "x.fits").write_bytes(content)
    for read in (read_image, read_table, read_header):
        with pytest.raises(InvalidFile, match=r"x\.fits, HDU"):
            read(tmp_path / "x.fits")


@pytest.mark.parametrize("length", [100, 2000, 2880, 5000, -1, -2880])
def test_fault_14_cut_image(image, length):
    image.write_bytes(image.read_bytes()[:length])
    with pytest.raises(InvalidFile, match=r"a\.fits, HDU 0"):
        read_image(image)


@pytest.mark.parametrize("length", [3000, 6000, 9000, -1, -2880])
def test_fault_14_cut_table(table, length):
    table.write_bytes(table.read_bytes()[:length])
    with pytest.raises(InvalidFile, match=r"t\.fits, HDU"):
        read_table(table)


@pytest.mark.parametrize("length", [3000, 9000, -1, -2880])
def test_fault_14_cut_compressed_image(packed, length):
    packed.write_bytes(packed.read_bytes()[:length])
    with pytest.raises(InvalidFile, match=r"c\.fits\.fz"):
        read_image(packed)


def test_fault_14_bad_padding(image):
    image.write_bytes(image.read_bytes()[:-5] + b"dirty")
    with pytest.raises(InvalidFile, match="padding"):
        read_image(image)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"NAXIS   =                    2", b"NAXIS   =                    3"),
        (b"NAXIS1  =                  100", b"NAXIS1  =                   90"),
        (b"NAXIS2  =                  100", b"NAXIS2  =                   99"),
        (b"NAXIS1  =                  100", b"NAXIS1  =                 -100"),
        (b"BITPIX  =                  -32", b"BITPIX  =                   17"),
    ],
)
def test_fault_14_wrong_sizes_in_the_header(image, old, new):
    change(image, old, new)
    with pytest.raises(InvalidFile, match=r"a\.fits, HDU"):
        read_image(image, verify=False)


def test_fault_14_flipped_bit_is_found_by_the_checksum(image, table):
    for path, read in ((image, read_image), (table, read_table)):
        content = bytearray(path.read_bytes())
        content[-4000] ^= 1
        path.write_bytes(content)
        with pytest.raises(InvalidFile, match="SUM is wrong"):
            read(path)


def test_fault_14_ten_gigabytes_promised_by_three_kilobytes(tmp_path, packed):
    header = afits.Header(
        [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 50_000), ("NAXIS2", 50_000)]
    )
    (tmp_path / "big.fits").write_bytes(header.tostring().encode())
    change(packed, b"ZNAXIS1 =                  100", b"ZNAXIS1 =            999999999")
    change(packed, b"ZTILE1  =                  100", b"ZTILE1  =            999999999")
    tracemalloc.start()
    for path in (tmp_path / "big.fits", packed):
        with pytest.raises(InvalidFile, match="bytes"):
            read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_fault_22_columns_with_a_heap_are_refused(tmp_path):
    column = afits.Column("H", "PJ()", array=np.array([np.arange(3), np.arange(2)], dtype=object))
    afits.BinTableHDU.from_columns([column]).writeto(tmp_path / "h.fits")
    with pytest.raises(InvalidFile, match=r"variable length.*: H"):
        read_table(tmp_path / "h.fits")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, float), ("thirty", float), (float("nan"), float), (float("inf"), float), (True, float), (1.5, int),
        ("2020-02-30T00:00:00", datetime), ("", datetime), ("furlongs/fortnite", "unit"), (3, str), ("T", bool),
    ],
)  # fmt: skip
def test_fault_15_impossible_keyword_is_named(value, kind):
    header = {} if value is None else {"KEY": value}
    with pytest.raises(BadKeyword, match=r"f\.fits, HDU 2: keyword KEY"):
        read_keywords(header, [Keyword("KEY", kind)], "f.fits", hdu=2)
    assert read_keywords(header, [Keyword("KEY", kind, default=7)], "f.fits") == {"KEY": 7}


def test_keywords_are_read_as_declared():
    wanted = [
        Keyword("A"),
        Keyword("B", int),
        Keyword("C", datetime),
        Keyword("D", "unit"),
        Keyword("E", required=False),
    ]
    found = read_keywords({"A": 3, "B": 4.0, "C": "2020-02-29T12:00:00.5", "D": "mJy"}, wanted, "f.fits")
    time = datetime(2020, 2, 29, 12, 0, 0, 500_000, tzinfo=UTC)
    assert found == {"A": 3.0, "B": 4, "C": time, "D": "mJy", "E": None}


GOOD = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 1.0, "CRPIX2": 1.0,
    "CD1_1": 1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{"CTYPE1": "", "CTYPE2": ""}, {"CD2_2": 0.0}, {"CD1_1": "x"}, {"CTYPE1": "RA---XYZ"}]
)
def test_fault_15_absent_or_singular_coordinates(changes):
    assert read_wcs(GOOD, "f.fits").wcs.crval[1] == 20.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadKeyword, match=r"f\.fits, HDU 0"):
            read_wcs(GOOD | changes, "f.fits")


# -- files of many parts ---------------------------------------------------------------------------------------


@pytest.fixture
def mosaic(tmp_path):
    units = [afits.PrimaryHDU()]
    for number, name in enumerate(("S29", "S30", "N24")):
        units.append(afits.CompImageHDU(PIXELS + 1000 * number, name=name, quantize_level=-0.01))
        units[-1].header["GAINA"] = 4.0 + number
    afits.HDUList(units).writeto(tmp_path / "m.fits.fz", checksum=True)
    return tmp_path / "m.fits.fz"


def test_parts_are_known_by_name_whatever_their_order(mosaic, tmp_path):
    assert part_names(mosaic) == {"S29": 1, "S30": 2, "N24": 3}
    assert read_header(mosaic, "N24")["GAINA"] == 6.0
    assert read_image(mosaic, "N24").data == pytest.approx(PIXELS + 2000, abs=0.011)
    with afits.open(mosaic) as units:
        afits.HDUList([units[0], units[3], units[1]]).writeto(tmp_path / "o.fits.fz")
    assert part_names(tmp_path / "o.fits.fz") == {"N24": 1, "S29": 2}
    assert read_header(tmp_path / "o.fits.fz", "N24")["GAINA"] == 6.0
    with pytest.raises(InvalidFile, match=r"no HDU of the name S30; there are .*N24, S29"):
        read_image(tmp_path / "o.fits.fz", "S30")


def test_names_of_parts_are_listed_without_their_pixels(mosaic, monkeypatch):
    def pixels(self):
        raise AssertionError("read")

    monkeypatch.setattr(afits.CompImageHDU, "data", property(pixels))
    monkeypatch.setattr(afits.BinTableHDU, "data", property(pixels))
    assert list(part_names(mosaic)) == ["S29", "S30", "N24"]


def test_chosen_cards_are_those_of_whole_headers(mosaic, tmp_path):
    keys = {"EXTNAME", "GAINA", "NAXIS2", "ZNAXIS2", "LONG", "NONE", "NOT"}
    with afits.open(mosaic, disable_image_compression=True) as units:
        units[2].header["NONE"] = None
        units[3].header["LONG"] = "x" * 150
        units.writeto(tmp_path / "long.fits.fz")
    (tmp_path / "long.fits.gz").write_bytes(gzip.compress((tmp_path / "long.fits.fz").read_bytes()))
    for path in (mosaic, tmp_path / "long.fits.fz", tmp_path / "long.fits.gz"):
        found = read_cards(path, keys)
        with afits.open(path, disable_image_compression=True) as units:
            whole = [plain_header(unit.header) for unit in units]
        assert found == [{key: header[key] for key in keys if key in header} for header in whole]
    assert [one.get("GAINA") for one in found] == [None, 4.0, 5.0, 6.0]
    assert (found[2]["NONE"], found[3]["LONG"]) == (None, "x" * 150)


@pytest.mark.parametrize(
    "said",
    [
        "KEY     =                    T", "KEY     = F / not", "KEY     =                   17",
        "KEY     =  -3 / a / b", "KEY     =             +1.5E+03", "KEY     = 2.5D-3", "KEY     = 7.",
        "KEY     = 1E5 / x", "KEY     = .5", "KEY     =",
        "KEY     = 'O''Neill /  '    / whose", "KEY     = '        '", "KEY     = ''", "KEY     = 'A.B: 5.0'",
        "KEY     = '2021-12-11T01:51:42' / UT", "KEY     = (1.0, 2.0)", "KEY     = 0017", "A_KEY-1 = '[1:1024,1:4096]'",
    ],
)  # fmt: skip
def test_a_card_says_what_astropy_says(said):
    card = said.ljust(80).encode()
    found, expected = _value(card), afits.Card.fromstring(card).value
    assert (type(found), found) == (type(expected), expected) or found is expected


@pytest.mark.parametrize("cut", [1, 2880, 5000])
def test_chosen_cards_of_a_cut_file_are_refused(mosaic, cut):
    mosaic.write_bytes(mosaic.read_bytes()[:-cut])
    with pytest.raises(InvalidFile, match=r"m\.fits\.fz, HDU \d"):
        read_cards(mosaic, {"EXTNAME"})
    mosaic.write_bytes(b"")
    with pytest.raises(InvalidFile, match="empty"):
        read_cards(mosaic, {"EXTNAME"})


def test_two_parts_of_one_name_are_refused(tmp_path):
    afits.HDUList([afits.PrimaryHDU(), *(afits.ImageHDU(PIXELS, name="N1") for _ in range(2))]).writeto(
        tmp_path / "t.fits"
    )
    with pytest.raises(InvalidFile, match="a second HDU of the name N1; the first is HDU 1"):
        part_names(tmp_path / "t.fits")


def test_a_damaged_part_is_refused_and_its_neighbours_are_read(mosaic):
    with afits.open(mosaic, disable_image_compression=True) as units:
        place = units[2].fileinfo()["datLoc"] + units[2].header["NAXIS1"] * units[2].header["NAXIS2"] + 50
    content = bytearray(mosaic.read_bytes())
    content[place] ^= 0xFF
    mosaic.write_bytes(bytes(content))
    assert read_image(mosaic, "S29").data.shape == PIXELS.shape
    with pytest.raises(InvalidFile, match="HDU S30: DATASUM is wrong"):
        read_image(mosaic, "S30")


def test_a_warning_that_is_not_about_the_file_does_not_make_it_a_damaged_one(image, monkeypatch):
    really = afits.open

    def beside_something_else(*args, **options):
        warnings.warn("unclosed file <notes.txt>", ResourceWarning, stacklevel=1)
        warnings.warn("this will go in version 9", DeprecationWarning, stacklevel=1)
        return really(*args, **options)

    monkeypatch.setattr(afits, "open", beside_something_else)
    assert check_structure(image) == [(100, 100)]
    assert read_cards(image, ["EXPTIME"])[0]["EXPTIME"] == 30.0
    np.testing.assert_array_equal(read_image(image).data, PIXELS)


def test_what_astropy_says_of_a_file_is_collected(image):
    with quiet(image, 0) as said:
        warnings.warn("unclosed file <notes.txt>", ResourceWarning, stacklevel=1)
        warnings.warn("File may have been truncated", afits.verify.VerifyWarning, stacklevel=1)
    assert [str(one.message) for one in said] == ["File may have been truncated"]
