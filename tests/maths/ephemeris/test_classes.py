"""Dynamical classes of bodies everybody knows."""

import pytest

from virtualobserver.maths.ephemeris.classes import orbit_class

KNOWN = {  # semi-major axis (au), eccentricity: JPL's small-body database, osculating, three digits
    "Atira": (0.741, 0.322, "NEA>Atira"), "Aten": (0.967, 0.183, "NEA>Aten"), "Apollo": (1.471, 0.560, "NEA>Apollo"),
    "Eros": (1.458, 0.223, "NEA>Amor"), "Aethra": (2.612, 0.387, "Mars-Crosser"),
    "Hungaria": (1.944, 0.074, "Hungaria"),
    "Vesta": (2.362, 0.089, "MB>Inner"), "Ceres": (2.768, 0.076, "MB>Middle"), "Themis": (3.137, 0.124, "MB>Outer"),
    "Cybele": (3.428, 0.112, "MB>Cybele"), "Hilda": (3.971, 0.140, "MB>Hilda"), "Achilles": (5.209, 0.147, "Trojan"),
    "Chiron": (13.69, 0.379, "Centaur"), "Pluto": (39.5, 0.249, "KBO>SDO"),
    "G!kun||'homdima": (73.7, 0.49, "KBO>Detached"),
    "Sedna": (506.0, 0.85, "KBO>Detached"), "Makemake": (45.4, 0.161, "KBO>Classical>Main"),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_bodies_have_their_classes(name):
    a, e, called = KNOWN[name]
    assert orbit_class(a * (1 - e), e).tolist() == [called]


def test_comets_on_parabolas_and_hyperbolas_have_none():
    assert orbit_class([0.5, 2.0, 1.2], [1.0, 3.4, 0.2]).tolist() == ["", "", "NEA>Amor"]
