"""Light curves of a night: stars of a catalogue by number, others by position, solved frames and unsolved ones."""

import numpy as np
import pytest

from virtualobserver.analyses.starcurves import StarCurves
from virtualobserver.conventions import MASK_SATURATED
from virtualobserver.data import Table, Target
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.observatory import Aux

FRAMES, STARS, SCALE = 14, 40, 2.0
AUX = Aux(Target("field", kind="field"))
DIP = slice(5, 9)


def night(*, solved=FRAMES, known=25, seed=1, dip=None, named=None, zero=True):
    """Return handles of a night of a drifting field, of whose stars the brightest `known` are in a catalogue."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(60, 440, STARS), rng.uniform(60, 440, STARS)
    mean = np.sort(10 ** rng.uniform(4, 5.5, STARS))[::-1]
    clear = 1 - 0.2 * rng.random(FRAMES)
    handles = []
    for number in range(FRAMES):
        flux = mean * clear[number]
        if dip is not None and DIP.start <= number < DIP.stop:
            flux = np.where(np.arange(STARS) == dip, 0.9 * flux, flux)
        error = np.sqrt(flux)
        seen = flux + rng.normal(0, error)
        here = {"x": x + 2.0 * number, "y": y - 1.0 * number}
        sky = {
            "ra": 150 + (x - 250) * SCALE / 3600 / np.cos(np.radians(-30)),
            "dec": -30 + (y - 250) * SCALE / 3600,
        }
        light = {"flux_4": seen, "flux_error_4": error, "flags": np.zeros(STARS, np.int64)}
        meta = {
            "mjd": 58000.0 + number / 100, "exptime": 60.0, "radii": [4.0], "band": "R", "refcat": "gaia_dr3@2022",
            "header": {"NIGHT": "n1", "FWHM": 2.5 + 0.1 * number, "SKY": 100.0},
        }  # fmt: skip
        order = rng.permutation(STARS)
        unit = f"n1/f{number:02d}"
        on_sky = number < solved
        columns = {**here, **light, **(sky if on_sky else {})}
        if on_sky:
            columns |= {"source_id": np.where(np.arange(STARS) < known, 1000 + np.arange(STARS), -1)}
            columns |= {"forced": np.arange(STARS) < known}
            forced = {
                **here,
                **sky,
                **light,
                "source_id": 1000 + np.arange(STARS),
                "mag": 20 - 2.5 * np.log10(mean),
            }
            names = np.full(STARS, "", dtype="U8")
            if named is not None:
                names[named] = "mine"
            table = Table(
                {name: values[:known] for name, values in (forced | {"name": names}).items()}, meta=meta
            )
            handles.append(MemoryHandle(table, ProductInfo("table", "forced", unit=unit)))
        handles.append(
            MemoryHandle(
                Table({k: v[order] for k, v in columns.items()}, meta=meta),
                ProductInfo("table", "sources", unit=unit),
            )
        )
        if zero and on_sky:
            row = {
                "mjd": [meta["mjd"]],
                "zero_point": [22 + 2.5 * np.log10(clear[number])],
                "limiting_magnitude": [18.0],
            }
            quality = Table({k: np.array(v) for k, v in row.items()})
            handles.append(MemoryHandle(quality, ProductInfo("table", "zeropoint", unit=unit)))
    return handles, clear


def found(handles, **options):
    analysis = StarCurves(**options)
    return analysis.find(handles, AUX, analysis.settings)


def curves(result):
    return {one.target.name: one.data for one in result.products if one.role == "reduced"}


def test_catalogue_stars_are_named_by_their_numbers_and_others_by_position():
    result = found(night(named=3)[0])
    names = set(curves(result))
    assert {f"gaia_dr3 {1000 + n}" for n in range(25) if n != 3} <= names
    assert "mine" in names
    others = {name for name in names if name.startswith("S")}
    assert len(others) == 15
    assert len(names) == 40
    assert all(len(curve) == FRAMES for curve in curves(result).values())
    star = next(one.target for one in result.products if one.target and one.target.name == "gaia_dr3 1000")
    assert star.mag is not None
    assert star.dec == pytest.approx(-30, abs=0.2)
    assert {one.target.name for one in result.sources} == names
    assert not result.detections


def test_a_star_that_dips_is_the_one_that_varies():
    result = found(night(dip=2)[0])
    assert [event.source for event in result.detections] == ["gaia_dr3 1002"]
    curve = curves(result)["gaia_dr3 1002"].flux
    rest = np.r_[curve[: DIP.start], curve[DIP.stop :]]
    assert np.median(curve[DIP]) / np.median(rest) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("dip", [0, 30])
def test_injection_and_search_agree_on_the_star(dip):
    handles, _ = night()
    analysis = StarCurves()
    params = analysis.draw(np.random.default_rng(dip), handles, analysis.settings)
    changed = analysis.inject(handles, [params | {"depth": 0.2}], np.random.default_rng(0))
    events = analysis.find(changed, AUX, analysis.settings).detections
    assert len(events) == 1
    assert analysis.recovered(params, events[0])


def test_frames_that_were_not_solved_are_joined_by_their_pixels():
    result = found(night(solved=10)[0])
    lengths = {name: len(curve) for name, curve in curves(result).items()}
    # sources of unsolved frames have no number: stars of the catalogue are found there by position
    assert {lengths[f"gaia_dr3 {1000 + n}"] for n in range(25)} == {FRAMES}
    assert sum(name.startswith("S") for name in lengths) == 15


def test_without_a_catalogue_stars_are_those_of_the_sources():
    result = found(night(solved=0)[0])
    names = list(curves(result))
    assert len(names) == 40
    assert all(name.startswith("field_n1_x") for name in names)


def test_the_night_table_says_how_clear_each_frame_was():
    handles, clear = night()
    (table,) = [one for one in found(handles).products if one.role == "night"]
    np.testing.assert_allclose(table.data["transparency"], clear / np.median(clear), rtol=1e-3)
    np.testing.assert_allclose(table.data["correction"], clear / np.median(clear), rtol=0.01)
    assert table.data["frame"].tolist()[:2] == ["f00", "f01"]
    assert table.data["fwhm"][1] == pytest.approx(2.6)
    assert table.statistics["limiting_magnitude"] == 18.0
    assert found(handles).properties["limiting_magnitude"] == 18.0
    (table,) = [one for one in found(night(zero=False)[0]).products if one.role == "night"]
    np.testing.assert_array_equal(table.data["transparency"], table.data["correction"])
    assert table.statistics["limiting_magnitude"] is None


def test_faint_stars_have_no_light_curve_and_saturated_ones_compare_with_nothing():
    handles, _ = night()
    few = found(handles, min_snr=200.0)
    assert 3 < len(curves(few)) < 40
    assert all(np.median(c.flux / c.flux_error) >= 200 for c in curves(few).values())
    marked = []
    for handle in handles:
        table = handle.load()
        if handle.info.role == "forced":
            flags = table["flags"].copy()
            flags[0] = MASK_SATURATED
            table = table.with_columns(flags=flags)
        marked.append(MemoryHandle(table, handle.info))
    assert (curves(found(marked))["gaia_dr3 1000"].flags > 0).all()
    assert (curves(found(marked))["gaia_dr3 1001"].flags == 0).all()


def test_fluxes_are_absolute_by_the_magnitudes_of_constant_stars_if_asked_for():
    handles, _ = night(dip=0)
    result = found(handles, unit="uJy")
    curves = {one.target.name: one for one in result.products if one.role == "reduced"}
    catalogue = handles[0].load()
    for number in (0, 3, 10):
        curve = curves[f"gaia_dr3 {catalogue['source_id'][number]}"].data
        assert curve.flux_unit == "uJy"
        truth = 10 ** (0.4 * (23.9 - catalogue["mag"][number]))
        assert np.median(curve.flux) == pytest.approx(truth, rel=0.02)
        assert np.median(curve.flux_error) == pytest.approx(
            truth / np.sqrt(10 ** (0.4 * (20 - catalogue["mag"][number]))), rel=0.3
        )
    # the star that dips has no say, and keeps its dip
    dipping = curves[f"gaia_dr3 {catalogue['source_id'][0]}"].data.flux
    assert np.median(dipping[DIP]) / np.median(
        np.delete(dipping, np.arange(DIP.start, DIP.stop))
    ) == pytest.approx(0.9, abs=0.01)
    assert result.properties["zero_point_error"] < 0.01
    plain = {one.target.name: one for one in found(handles).products if one.role == "reduced"}
    assert {one.data.flux_unit for one in plain.values()} == {"electron"}


def test_without_magnitudes_curves_stay_in_electrons_and_it_is_said():
    handles, _ = night(solved=0)
    aux = Aux(Target("field", kind="field"))
    analysis = StarCurves(unit="uJy")
    result = analysis.find(handles, aux, analysis.settings)
    assert {one.data.flux_unit for one in result.products if one.role == "reduced"} == {"electron"}
    assert any("microjansky" in reason for reason in aux.notes)
