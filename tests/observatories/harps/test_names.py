"""What the names of stars, lamps and the sky say."""

import csv

import pytest
from support.real import real_data

from virtualobserver.observatories.harps.names import classify_name, component_of


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
