"""What the names of stars, lamps and the sky say."""

import csv

import pytest
from support.real import real_data

from virtualobserver.observatories.harps.names import classify_name, component_of, published_name


@pytest.mark.parametrize(
    ("name", "sanitised", "reduced"),
    [
        ("A_HD45637", "HD45637", "hd45637"), ("G_Cen", "G Cen", "gcen"), ("c_HR2543", "HR2543", "hr2543"),
        ("HD-39060", "HD 39060", "hd39060"), ("BD-13-2130", "BD-13-2130", "bd-13-2130"),
        ("CPD-60-944", "CPD-60-944", "cpd-60-944"), ("J0437-47", "J0437-47", "j0437-47"),
        ("G108-21", "G108-21", "g108-21"), ("GJ-581", "GJ 581", "gj581"), ("LP816-60", "LP816-60", "lp816-60"),
        ("CD-24-10619", "CD-2410619", "cd-2410619"), ("TYC-123-45-1", "TYC123-45-1", "tyc123-45-1"),
        ("SERAM-12-3", "SERAM12-3", "seram12-3"), ("bet_Pic", "bet Pic", "betpic"), ("x", "x", "x"), ("", "", ""),
    ],
)  # fmt: skip
def test_published_name_rules(name, sanitised, reduced):
    assert published_name(name) == (sanitised, reduced)


@pytest.mark.parametrize(
    ("name", "dpr", "kind"),
    [("HD 39060", "STAR,DARK,A5", "object"), ("Sun-sky", "STAR,DARK,G2", "moving"), ("Ceres", "", "moving"),
     ("4 Vesta", "", "moving"), ("solar_spectrum", "", "moving"), ("NONE", "", "sky"), ("IOTHOR", "", "object"),
     ("Io", "", "moving"), ("lamp", "", "lamp"), ("x", "WAVE,WAVE,THAR2", "lamp"), ("x", "SKY", "sky"),
     ("Moon", "", "moving"), ("2MASSJ0523", "", "object")],
)  # fmt: skip
def test_moving_sky_and_lamp_targets_are_recognised(name, dpr, kind):
    assert classify_name(name, dpr) == kind


def test_components_of_close_pairs():
    names = ["alpha Cen A", "alpha-Cen-B", "HD 1A"]
    assert [component_of(name, names) for name in names] == ["a", "b", ""]


@pytest.mark.real
def test_a_real_target_list_holds_what_is_no_star():
    with real_data("harps", "harps_targets", "HARPS_all.csv").open() as stream:
        names = [row[key].strip() for row in csv.DictReader(stream) for key in row if key.strip() == "Name"]
    kinds = {n: classify_name(n) for n in names}
    assert {kinds[n] for n in ("Sun-sky", "solar_spectrum", "Ceres", "Europa", "Io")} == {"moving"}
    assert {kinds[n] for n in ("NONE", "SKY", "Test", "No-Name")} == {"sky"}
    assert sum(kind != "object" for kind in kinds.values()) < 100
