"""WorkUnits and results in KBMOD's formats, made up, and read by the letter of the format."""

import io
import json

import numpy as np
from astropy.io import fits
from ruamel.yaml import YAML

from virtualobserver.io.kbmod.tables import KbmodResults
from virtualobserver.io.kbmod.workunit import WorkUnit
from virtualobserver.maths.shiftstack.images import gaussian_psf
from virtualobserver.maths.times import Site

CARDS = {
    "WCSAXES": 2, "CRPIX1": 16.5, "CRPIX2": 12.5, "CDELT1": -2.6e-4, "CDELT2": 2.6e-4, "CUNIT1": "deg",
    "CUNIT2": "deg", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0, "CRVAL2": -65.0,
    "LONPOLE": 180.0, "LATPOLE": -65.0, "RADESYS": "ICRS", "NAXIS1": 32, "NAXIS2": 24,
}  # fmt: skip


def made(n=3, scale=1.0, **fields):
    """A WorkUnit of n noise images 24 x 32 with some masked pixels."""
    rng = np.random.default_rng(4)
    science = rng.normal(0, scale, (n, 24, 32)).astype(np.float32)
    variance = (scale**2 * rng.uniform(0.8, 1.2, science.shape)).astype(np.float32)
    mask = (rng.random(science.shape) < 0.05).astype(np.uint8)
    basic = {
        "wcs": (CARDS,) * n,
        "meta": {"visit": list(range(n)), "filter": ["R"] * n, "data_loc": [None] * n},
    }
    return WorkUnit(
        60100.25 + 0.01 * np.arange(n), science, variance, mask, (gaussian_psf(1.4),) * n,
        Site(lon=123.35, lat=-75.1, height=3233.0), **(basic | fields),
    )  # fmt: skip


def literal_read(paths):
    """Read as the format's table says, HDU by HDU, and nothing else; return the arrays."""
    head = fits.open(io.BytesIO(paths[0].read_bytes()))
    primary = head[0].header
    assert head[0].data is None
    n, constituents = primary["NUMIMG"], primary["NCON"]
    assert isinstance(n, int)
    assert isinstance(primary["REPRJCTD"], bool)
    assert "REPFRAME" in primary
    assert "BARY" in primary
    assert all(isinstance(primary[key], float) for key in ("OBS_LAT", "OBS_LON", "OBS_ELEV"))
    assert head[1].name == "KBMOD_CONFIG"
    assert len(head[1].data) == 1
    config = {}
    for column in head[1].columns:
        assert column.format.endswith("A")
        text = head[1].data[column.name][0]
        config[column.name] = YAML(typ="safe", pure=True).load(text)
        assert isinstance(config[column.name], list | dict) or text.rstrip("\n").endswith("\n...")
    assert head[2].name == "IMG_META"
    assert len(head[2].data) == constituents
    for column in head[2].columns:
        if column.name.startswith("_WCSSTR_"):
            assert {"NAXIS1", "NAXIS2", "CTYPE1"} <= set(json.loads(head[2].data[column.name][0]))
    arrays = []
    for i in range(n):
        units = head if len(paths) == 1 else fits.open(io.BytesIO(paths[1 + i].read_bytes()))
        science, variance, mask, psf = (units[f"{kind}_{i}"] for kind in ("SCI", "VAR", "MSK", "PSF"))
        assert all(isinstance(unit, fits.CompImageHDU) for unit in (science, variance))
        assert science.data.dtype == variance.data.dtype == np.float32
        for unit in (science, variance, mask):
            assert isinstance(unit.header["MJD"], float)
            assert (unit.header["DIMM1"], unit.header["DIMM2"]) == science.data.shape[::-1]
            assert unit.header["CTYPE1"] == "RA---TAN"
        assert [science.header[f"IND_{k}"] for k in range(science.header["NIND"])] == [i]
        assert "NIND" not in variance.header
        assert (mask.header["BITPIX"], mask.header["BZERO"]) == (8, -128)
        assert set(np.unique(mask.data)) <= {0, 1}
        assert np.array_equal(mask.data == 1, ~np.isfinite(science.data))
        assert psf.data.dtype.newbyteorder("=") == np.float32
        arrays.append((science.header["MJD"], science.data, variance.data, mask.data, psf.data))
    return config, arrays


def results(n=2, images=5):
    rng = np.random.default_rng(3)
    columns = {name: rng.normal(0, 100, n) for name in ("vx", "vy", "likelihood", "flux")}
    columns |= {name: rng.integers(-5, 90, n) for name in ("x", "y", "obs_count")}
    columns["uuid"] = np.array([f"{k:032x}" for k in range(n)])
    columns["psi_curve"] = rng.normal(size=(n, images)).astype(np.float32)
    columns["obs_valid"] = rng.random((n, images)) < 0.5
    columns["coadd_sum"] = rng.normal(size=(n, 7, 7)).astype(np.float32)
    return KbmodResults(
        columns, {"num_img": images, "dims": [96, 80], "mjd_mid": [60100.0 + k for k in range(images)]}
    )
