"""Records of 80 columns: every number is rounded as a whole, and real records are written byte for byte."""

from __future__ import annotations

import json
from datetime import date

import pytest
from support.real import real_data

from virtualobserver.errors import DataError
from virtualobserver.io.mpc.names import Designation
from virtualobserver.io.mpc.records import MJD_ZERO, Observation, header_lines, record


def written(**facts):
    told = {"mjd": 60100.25, "ra": 10.0, "dec": 20.0, "temporary": "AST1"} | facts
    return record(Observation(**told), "J75")


def test_each_fact_stands_in_its_columns():
    seen = Observation(60100.1234567, 186.123456, -7.0654321, Designation("12893"), mag=17.346, band="G")
    text = record(seen, "J75", catalogue="W")
    assert text == "12893         C2023 06 05.12345712 24 29.629-07 03 55.56         17.35GW     J75"
    assert len(text) == 80


@pytest.mark.parametrize(
    ("mjd", "time"),
    [
        (60100.9999996, "2023 06 06.000000"), (60100.9999994, "2023 06 05.999999"),
        (60309.99999999, "2024 01 01.000000"), (60100.0000006, "2023 06 05.000001"),
    ],
)  # fmt: skip
def test_time_is_rounded_and_carries_over(mjd, time):
    assert written(mjd=mjd)[15:32] == time


@pytest.mark.parametrize(
    ("ra", "text"),
    [
        (359.9999999, "00 00 00.000"), (14.9999999, "01 00 00.000"), (0.2499999, "00 01 00.000"), (0.0, "00 00 00.000"),
        (359.99999, "23 59 59.998"), (360.0, "00 00 00.000"), (-0.25, "23 59 00.000"),
    ],
)  # fmt: skip
def test_right_ascension_carries_over_to_24_hours(ra, text):
    assert written(ra=ra)[32:44] == text


@pytest.mark.parametrize(
    ("dec", "text"),
    [
        (29.9999999, "+30 00 00.00"), (-29.9999999, "-30 00 00.00"), (-0.0166666, "-00 01 00.00"),
        (-0.000001, "+00 00 00.00"), (-0.5, "-00 30 00.00"), (89.9999999, "+90 00 00.00"), (-90.0, "-90 00 00.00"),
    ],
)  # fmt: skip
def test_declination_carries_over_and_keeps_its_sign(dec, text):
    assert written(dec=dec)[44:56] == text


def test_what_is_not_known_stays_blank():
    assert written()[56:77] == " " * 21
    assert written(mag=9.999, band="V")[65:71] == "10.00V"


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="80 columns"):
        written(temporary="TOOLONG8")


def test_long_lines_of_the_header_go_on_with_the_same_word():
    lines = list(header_lines([("COD", "J75"), ("OBS", ", ".join(["A. Somebody"] * 12)), ("ACK", "")]))
    assert lines[0] == "COD J75"
    assert [line[:4] for line in lines] == ["COD ", "OBS ", "OBS ", "OBS "]
    assert max(map(len, lines)) <= 80
    assert list(header_lines([("MEA", "É. Señor")])) == ["MEA E. Senor"]


def parsed(text):
    """Read a record by its columns alone, with the decimals that it has; what is no fact of ours is taken apart."""
    year, month, day = text[15:32].split()
    whole, part = day.split(".")
    mjd = (date(int(year), int(month), int(whole)) - MJD_ZERO).days + float(f"0.{part}")
    hours, degrees = text[32:44].split(), text[45:56].split()
    ra, dec = (sum(float(one) / 60**n for n, one in enumerate(parts)) for parts in (hours, degrees))
    mag = text[65:70].strip()
    half = (
        f"{'IJKL'.index(text[5]) + 18}{text[6:8]} {text[8]}{text[11]}{int(text[9:11])}"
        if text[5:12].strip()
        else ""
    )
    seen = Observation(
        mjd, ra * 15, dec * (-1 if text[44] == "-" else 1), Designation(text[:5].lstrip("0"), half),
        mag=float(mag or "nan"), band=text[70].strip(),
    )  # fmt: skip
    digits = [len(one.partition(".")[2]) for one in (day, hours[2], degrees[2], mag)]
    return seen, tuple(digits)


@pytest.mark.real
def test_real_records_are_written_byte_for_byte():
    records = json.loads(real_data("sso/recorded/mpc_obs_first80.json").read_text())
    assert len(records) == 80
    for one in records:
        text = one["original_record"]
        seen, digits = parsed(text)
        again = record(
            seen, text[77:], discovery=text[12], note1=text[13], note2=text[14], catalogue=text[71], digits=digits,
            both=True,
        )  # fmt: skip
        # the reference of a publication is put in by the Minor Planet Center
        assert again == text[:72] + " " * 5 + text[77:]
