"""Magnifications: closed forms, and two programs of others."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import dblquad

from virtualobserver.errors import DataError
from virtualobserver.maths.microlensing import (
    light_curve,
    magnification_disc,
    magnification_point,
    peak_disc,
)

RHO = (1e-3, 0.02, 0.3, 1.0, 2.5)
WHERE = np.array([0.0, 0.1, 0.5, 0.9, 0.99, 0.9999, 1.0, 1.0001, 1.01, 1.2, 2.0, 5.0])


def test_a_point_at_one_einstein_radius_is_magnified_by_the_known_number():
    assert magnification_point([1.0, -1.0]) == pytest.approx(3 / np.sqrt(5))
    assert magnification_point(50.0) == pytest.approx(1, abs=1e-6)
    assert magnification_point(0.0) == np.inf


@pytest.mark.parametrize("rho", RHO)
def test_a_disc_has_its_closed_form_in_the_middle_and_becomes_a_point_far_off(rho):
    assert magnification_disc(0.0, rho) == pytest.approx(np.sqrt(1 + 4 / rho**2), rel=1e-9)
    assert peak_disc(rho) == pytest.approx(np.sqrt(1 + 4 / rho**2))
    far = 300 * rho
    assert magnification_disc(far, rho) == pytest.approx(magnification_point(far), rel=1e-4)
    near = magnification_disc(WHERE * rho, rho)
    assert (np.diff(near) < 0).all()


def test_a_disc_is_the_mean_of_its_points():
    for u, rho in ((0.4, 0.3), (0.35, 0.4), (1.5, 1.0)):
        total, _ = dblquad(
            lambda r, phi, u=u: float(magnification_point(np.sqrt(u * u + r * r + 2 * u * r * np.cos(phi)))) * r,
            0, np.pi, 0, rho, epsabs=1e-7, epsrel=1e-7,
        )  # fmt: skip
        assert magnification_disc(u, rho) == pytest.approx(2 * total / (np.pi * rho**2), rel=1e-5)


@pytest.mark.parametrize("rho", RHO)
def test_a_disc_whose_limb_passes_the_lens_has_its_closed_form(rho):
    # Witt & Mao 1994, ApJ 430, 505
    angle = np.pi / 2 + np.arcsin((rho**2 - 1) / (rho**2 + 1))
    assert magnification_disc(rho, rho) == pytest.approx(
        (2 / rho + (1 + rho**2) / rho**2 * angle) / np.pi, rel=1e-7
    )


@pytest.mark.parametrize("rho", RHO)
def test_vbmicrolensing_says_the_same(rho):
    module = pytest.importorskip("VBMicrolensing", reason="VBMicrolensing comes with the extra dev")
    other = module.VBMicrolensing()
    other.LoadESPLTable(str(Path(module.__file__).parent / "data" / "ESPL.tbl"))
    # near the limb its table is coarse: there the closed form above has the say
    where = np.array([0.1, 0.5, 0.8, 1.3, 2.0, 5.0]) * rho
    theirs = [other.ESPLMag2(float(u), rho) for u in where]
    np.testing.assert_allclose(magnification_disc(where, rho), theirs, rtol=1e-4)


@pytest.mark.parametrize("rho", [0.3, 1.0])
def test_mulensmodel_says_the_same(rho):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports are older than those of others
        mulens = pytest.importorskip("MulensModel", reason="MulensModel comes with the extra dev")
    time = np.linspace(-2, 2, 81) * rho
    event = {"t_0": 0.0, "u_0": 0.4 * rho, "t_E": 1.0}
    model = mulens.Model({**event, "rho": rho})
    model.set_magnification_methods([-10, "finite_source_uniform_WittMao94", 10])
    ours = light_curve(time, t0=0.0, t_e=1.0, u0=0.4 * rho, rho=rho)
    np.testing.assert_allclose(ours, model.get_magnification(time), rtol=1e-4)
    point = mulens.Model(event).get_magnification(time)
    np.testing.assert_allclose(light_curve(time, t0=0.0, t_e=1.0, u0=0.4 * rho), point, rtol=1e-9)


def test_stars_without_a_size_and_lenses_that_stand_still_are_refused():
    with pytest.raises(DataError, match="above 0"):
        magnification_disc(0.1, 0.0)
    with pytest.raises(DataError, match="passes"):
        light_curve([0.0], t0=0, t_e=0, u0=1)
