"""Raw frames of LSSS to calibrated tables: this package beside SExtractor and SCAMP, and the chain built on them.

Both sides start from the same raw files with the same bias, flat and reference stars, and end with tables on disk in
which each source has its place and magnitude. The chain, step by step, is Filabres (bias and flat, solve-field,
SExtractor, SCAMP), then ssos (SExtractor once more, SCAMP once for all frames), then a line through the magnitudes of
Gaia, with the configurations of both. Its own downloads, its loop over stars and the start of its interpreter are left
out. Processor seconds of this process and of the programs it starts, the least of some rounds in which both sides take
turns.

Usage: python benchmarks/bench_chain.py [stars in the frame] [frames] [rounds]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.catalog.solver import CatalogueSolver
from virtualobserver.data import RawRef, Target, as_handle
from virtualobserver.data.image import Image
from virtualobserver.io.store import Store
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.observatories.lsss.simulate import stars_of
from virtualobserver.observatory import Aux
from virtualobserver.testing.surveys import units

FIELD = Target("field", ra=150.0, dec=20.0, kind="field")
SCALE = 2.226  # arcsec per pixel
EPOCH = 2016.0

FIRST_COLUMNS = """NUMBER X_IMAGE Y_IMAGE XWIN_IMAGE YWIN_IMAGE ERRAWIN_IMAGE ERRBWIN_IMAGE ERRTHETAWIN_IMAGE
FLUX_AUTO FLUXERR_AUTO MAG_AUTO MAGERR_AUTO FLUX_RADIUS FLAGS FLAGS_WEIGHT ELONGATION FLUX_MAX"""
FIRST = {
    "CATALOG_TYPE": "FITS_LDAC", "DETECT_THRESH": "5", "ANALYSIS_THRESH": "5", "DETECT_MINAREA": "10", "FILTER": "N",
    "PIXEL_SCALE": "1.0", "SATUR_LEVEL": "50000", "VERBOSE_TYPE": "QUIET",
}  # fmt: skip
SECOND = {
    "CATALOG_TYPE": "FITS_LDAC", "DETECT_THRESH": "1.5", "ANALYSIS_THRESH": "1.5", "DETECT_MINAREA": "5", "FILTER": "Y",
    "DEBLEND_NTHRESH": "16", "DEBLEND_MINCONT": "0.05", "PHOT_AUTOPARAMS": "1.5,0.8", "SATUR_LEVEL": "60000",
    "WEIGHT_TYPE": "BACKGROUND", "BACK_SIZE": "64", "BACK_FILTERSIZE": "3", "VERBOSE_TYPE": "QUIET",
}  # fmt: skip
MATCH = {
    "POSITION_MAXERR": "15.0", "CROSSID_RADIUS": "2.0", "SN_THRESHOLDS": "10.0,100.0", "DISTORT_DEGREES": "3",
    "PIXSCALE_MAXERR": "1.2", "POSANGLE_MAXERR": "5.0",
}  # fmt: skip
JOIN = {
    "MATCH": "N", "SOLVE_ASTROM": "N", "CROSSID_RADIUS": "10.0", "SN_THRESHOLDS": "3.0,100.0", "ASTRCLIP_NSIGMA": "1.5",
    "PROPERMOTIONS": "Y", "FLAGS_MASK": "236", "FULLOUTCAT_TYPE": "FITS_LDAC", "FULLOUTCAT_NAME": "full.cat",
    "MERGEDOUTCAT_TYPE": "FITS_LDAC", "MERGEDOUTCAT_NAME": "merged.cat",
}  # fmt: skip
ALWAYS = {
    "ASTREF_CATALOG": "FILE", "ASTREFCAT_NAME": "stars.ldac", "SOLVE_PHOTOM": "N", "CHECKPLOT_TYPE": "NONE",
    "WRITE_XML": "N", "VERBOSE_TYPE": "QUIET", "NTHREADS": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Night:
    """Raw frames, what calibrates them, and the stars that are there: ra, dec, mag, colour, shape (n, 4)."""

    survey: VirtualLSSS
    raws: list[RawRef]
    aux: list[Aux]
    stars: np.ndarray


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return processor seconds of this process, and of the programs it starts."""
    start = os.times()
    work()
    end = os.times()
    return (
        end.user + end.system - start.user - start.system,
        end.children_user + end.children_system - start.children_user - start.children_system,
    )


def night_of(stars: int, frames: int) -> Night:
    simulation = {
        "frames": frames,
        "stars": stars,
        "movers": 4,
        "world": False,
        "flip": False,
        "pointing_error": 5.0,
    }
    survey = VirtualLSSS(refcat="gaia@dr3", simulation=simulation)
    found = units(survey, 1)
    truth = stars_of(FIELD, survey.settings.simulation, np.random.default_rng(1))
    return Night(survey, [raws[0] for raws, _ in found], [aux for _, aux in found], truth)


# --- this package -----------------------------------------------------------------------------------------


def ours(night: Night, folder: Path) -> list[np.ndarray]:
    ra, dec, mag, colour = night.stars.T
    columns = {"source_id": np.arange(len(ra)), "ra": ra, "dec": dec, "mag": mag, "bp_rp": colour}
    catalogue = MemoryReference(ReferenceStars.build(columns, epoch=EPOCH))
    services = {"refcat": catalogue, "solver": CatalogueSolver(catalogue)}
    store, own, tables = Store(folder / "store"), night.survey.settings, []
    for raw, aux in zip(night.raws, night.aux, strict=True):
        with_stars = Aux(FIELD, masters=aux.masters, services=services)
        handles = [as_handle(one) for one in night.survey.reduce([raw], aux, own)]
        handles += [as_handle(one) for one in night.survey.refine("solve", handles, with_stars, own)]
        handles += [as_handle(one) for one in night.survey.refine("photometry", handles, with_stars, own)]
        blocks = []
        for number, handle in enumerate(handles):
            data = handle.load()
            if isinstance(data, Image):
                store.write_image("products", data, "calibrated")
            else:
                blocks.append((f"{number}", data))
        store.write_blocks("products", blocks)
        table = next(one.load() for one in handles if one.info.role == "sources")
        tables.append(np.stack([table[name] for name in ("ra", "dec", "mag", "snr")], axis=1).astype(float))
    return tables


# --- the chain --------------------------------------------------------------------------------------------


def run(*words: object, folder: Path) -> None:
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]}: {done.stdout.decode()[-400:]}{done.stderr.decode()[-400:]}")


def options(*groups: dict[str, str]) -> list[str]:
    return [word for group in groups for key, value in group.items() for word in (f"-{key}", value)]


def prepare(night: Night, folder: Path) -> None:
    """Write what both the chain and its user have before it starts: raw files, masters, stars, configurations."""
    for number, raw in enumerate(night.raws):
        (folder / f"raw{number}.fits").write_bytes(raw.read())
    for key, handle in night.aux[0].masters.items():
        fits.PrimaryHDU(np.asarray(handle.load().data, np.float32)).writeto(folder / f"{key}.fits")
    ra, dec, mag, _ = night.stars.T
    named = ("ra", ra), ("dec", dec), ("mag", mag)
    fits.BinTableHDU.from_columns([fits.Column(name, "D", array=one) for name, one in named]).writeto(
        folder / "stars.fits"
    )
    error, none = np.full(len(ra), 0.02 / 3600), np.zeros(len(ra))
    columns = [
        ("X_WORLD", "D", "deg", ra), ("Y_WORLD", "D", "deg", dec), ("ERRA_WORLD", "E", "deg", error),
        ("ERRB_WORLD", "E", "deg", error), ("ERRTHETA_WORLD", "E", "deg", none), ("MAG", "E", "mag", mag),
        ("MAGERR", "E", "mag", none + 0.01), ("OBSDATE", "D", "yr", none + EPOCH),
    ]  # fmt: skip
    text = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)]).tostring()
    head = fits.Column("Field Header Card", "2880A", array=np.array([text]))
    rows = [fits.Column(name, form, unit=unit, array=one) for name, form, unit, one in columns]
    hdus = (
        fits.BinTableHDU.from_columns([head], name="LDAC_IMHEAD"),
        fits.BinTableHDU.from_columns(rows, name="LDAC_OBJECTS"),
    )
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "stars.ldac")
    (folder / "columns").write_text("\n".join(FIRST_COLUMNS.split()) + "\n")
    line = np.exp(-4 * np.log(2) * (np.arange(-2, 3) / 2.5) ** 2)
    (folder / "default.conv").write_text(
        "CONV NORM\n"
        + "\n".join(" ".join(f"{value:.6f}" for value in row) for row in np.outer(line, line))
        + "\n"
    )
    (folder / "empty").write_text("")


def calibrate(folder: Path, number: int) -> None:
    with fits.open(folder / f"raw{number}.fits") as raw:
        data, header = raw[0].data.astype(np.float32), raw[0].header
    bias, flat = (fits.getdata(folder / f"{name}.fits") for name in ("bias", "flat"))
    header["EXPTIME"] = float(header["EXPTIME"])
    fits.PrimaryHDU(((data - bias) / flat).astype(np.float32), header).writeto(folder / f"red{number}.fits")


def pointing(header: fits.Header) -> tuple[float, float]:
    from astropy.coordinates import Angle

    return Angle(header["RA"], "hourangle").deg, Angle(header["DEC"], "deg").deg


def solved_header(folder: Path, number: int, *, solve: bool) -> fits.Header:
    """Return world coordinates to begin with: of solve-field, or where the telescope says it points."""
    ra, dec = pointing(fits.getheader(folder / f"red{number}.fits"))
    if solve:
        run(
            "solve-field", f"red{number}.fits", "--config", "engine.cfg", "--overwrite", "--no-plots", "--ra", ra,
            "--dec", dec, "--radius", "1", "--tweak-order", "2", "--scale-units", "arcsecperpix",
            "--scale-low", SCALE * 0.8, "--scale-high", SCALE * 1.2, "--temp-dir", folder,
            "--new-fits", f"new{number}.fits", folder=folder,
        )  # fmt: skip
        header = fits.getheader(folder / f"new{number}.fits")
        for key in [key for key in header if key.startswith(("A_", "B_", "AP_", "BP_"))]:
            del header[key]
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        return header
    header = fits.getheader(folder / f"red{number}.fits")
    pixel = SCALE / 3600
    header.update(
        CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=ra, CRVAL2=dec, CRPIX1=(header["NAXIS1"] + 1) / 2,
        CRPIX2=(header["NAXIS2"] + 1) / 2, CD1_1=-pixel, CD1_2=0.0, CD2_1=0.0, CD2_2=pixel, EQUINOX=2000.0,
    )  # fmt: skip
    return header


def with_head(folder: Path, number: int, header: fits.Header) -> None:
    """Write the frame once more, with the world coordinates that SCAMP found."""
    lines = [
        line
        for line in (folder / f"cat{number}.head").read_text(encoding="latin-1").splitlines()
        if line[8:10] == "= "
    ]
    found = fits.Header.fromstring("\n".join(lines), sep="\n")
    for key in found:
        if key.startswith(("CTYPE", "CRVAL", "CRPIX", "CD", "PV", "EQUINOX", "RADESYS")):
            header[key] = found[key]
    data = fits.getdata(folder / f"red{number}.fits")
    fits.PrimaryHDU(data, header).writeto(folder / f"science{number}.fits", overwrite=True)


def line_of(x: np.ndarray, y: np.ndarray, clip: float = 2.5) -> tuple[float, float]:
    """Return slope and intercept of y over x, clipped as the chain does."""
    while True:
        slope, start = np.polyfit(x, y, 1)
        away = np.abs(y - start - slope * x)
        keep = away < away.mean() + clip * away.std()
        if keep.all():
            return float(slope), float(start)
        x, y = x[keep], y[keep]


def chain(night: Night, folder: Path, *, solve: bool) -> list[np.ndarray]:
    if solve:
        run(
            "build-astrometry-index", "-i", "stars.fits", "-o", "index.fits", "-A", "ra", "-D", "dec", "-S", "mag",
            "-P", "4", "-E", "-I", "4", "-t", folder, folder=folder,
        )  # fmt: skip
        (folder / "engine.cfg").write_text(f"add_path {folder}\nindex index.fits\n")
    names = []
    for number in range(len(night.raws)):
        calibrate(folder, number)
        header = solved_header(folder, number, solve=solve)
        fits.PrimaryHDU(fits.getdata(folder / f"red{number}.fits"), header).writeto(
            folder / f"start{number}.fits"
        )
        where = {
            "PARAMETERS_NAME": "columns",
            "FILTER_NAME": "default.conv",
            "CATALOG_NAME": f"cat{number}.cat",
        }
        run("source-extractor", f"start{number}.fits", "-c", "empty", *options(FIRST, where), folder=folder)
        # Filabres has both catalogues of each frame written, and reads its own quality from them
        more = {"FULLOUTCAT_TYPE": "ASCII_HEAD", "FULLOUTCAT_NAME": f"full{number}.cat",
                "MERGEDOUTCAT_TYPE": "ASCII_HEAD", "MERGEDOUTCAT_NAME": f"merged{number}.cat"}  # fmt: skip
        run("scamp", f"cat{number}.cat", "-c", "empty", *options(ALWAYS, MATCH, more), folder=folder)
        with_head(folder, number, header)
        where["CATALOG_NAME"] = f"ssos{number}.cat"
        run(
            "source-extractor", f"science{number}.fits", "-c", "empty", *options(SECOND, where), folder=folder
        )
        names.append(f"ssos{number}.cat")
    run("scamp", *names, "-c", "empty", *options(ALWAYS, JOIN), folder=folder)
    return chain_tables(night, folder)


def chain_tables(night: Night, folder: Path) -> list[np.ndarray]:
    """Match each frame's detections with the stars within 1 arcsec, fit the line, and write the tables."""
    ra, dec, mag, _ = night.stars.T

    def flat(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        return np.stack([(ra - FIELD.ra) * np.cos(np.radians(dec)), dec - FIELD.dec], axis=1) * 3600

    tree, tables = cKDTree(flat(ra, dec)), []
    full = fits.getdata(next(folder.glob("full_*.cat")), 2)
    for number in range(len(night.raws)):
        mine = full[full["CATALOG_NUMBER"] == number + 1]
        away, star = tree.query(flat(mine["ALPHA_J2000"], mine["DELTA_J2000"]), distance_upper_bound=1.0)
        own = mine["MAG"].astype(float)
        near = np.isfinite(away)
        good = near & (mine["MAGERR"] < 0.1)
        good[near] &= (mag[star[near]] > 12) & (mag[star[near]] < 16)
        slope, start = line_of(own[good], mag[star[good]])
        table = np.stack(
            [mine["ALPHA_J2000"], mine["DELTA_J2000"], start + slope * own, 1.0857 / mine["MAGERR"]], axis=1
        ).astype(float)
        np.savetxt(folder / f"table{number}.csv", table, delimiter=",", header="ra,dec,mag,snr", comments="")
        tables.append(table)
    return tables


# --- both -------------------------------------------------------------------------------------------------


def quality(night: Night, tables: list[np.ndarray]) -> str:
    """Return how far sources above 20 sigma of stars of 12 to 16 mag are from where and what was put in."""
    ra, dec, mag, _ = night.stars.T
    tree = cKDTree(np.stack([ra * np.cos(np.radians(dec)), dec], axis=1) * 3600)
    gaps, errors, found = [], [], 0
    for table in tables:
        some = table[table[:, 3] > 20]
        away, star = tree.query(
            np.stack([some[:, 0] * np.cos(np.radians(some[:, 1])), some[:, 1]], axis=1) * 3600
        )
        real = (away < 2) & (mag[star] > 12) & (mag[star] < 16)
        gaps += away[real].tolist()
        errors += np.abs(some[real, 2] - mag[star[real]]).tolist()
        found += int(real.sum())
    # a source whose aperture leaves the frame has no magnitude
    off = f'{np.median(gaps):.3f}" and {np.nanmedian(errors):.4f} mag'
    return f"{found / len(tables):.0f} stars a frame, off by {off} (medians)"


def main() -> None:
    stars, frames, rounds = (int(one) for one in (sys.argv[1:] + ["500", "3", "3"][len(sys.argv) - 1 :])[:3])
    night = night_of(stars, frames)
    sides: dict[str, Callable[[Path], list[np.ndarray]]] = {
        "this package": lambda folder: ours(night, folder),
        "source-extractor and scamp": lambda folder: chain(night, folder, solve=False),
        "the chain, with solve-field": lambda folder: chain(night, folder, solve=True),
    }
    best: dict[str, tuple[float, float]] = {}
    said: dict[str, str] = {}
    ours(night, Path(tempfile.mkdtemp(prefix="vo-chain-")))  # compiles
    for _ in range(rounds):
        for name, side in sides.items():
            folder = Path(tempfile.mkdtemp(prefix="vo-chain-"))
            prepare(night, folder)
            made: list[np.ndarray] = []
            took = spent(lambda side=side, folder=folder, made=made: made.extend(side(folder)))
            best[name] = min(best.get(name, took), took, key=sum)
            said[name] = quality(night, made)
            shutil.rmtree(folder)
    print(f"{frames} frames of 1092 x 736 with {stars} stars each; processor seconds a frame")
    for name, took in best.items():
        part = sum(took) / sum(best["this package"])
        seconds = f"{sum(took) / frames:6.3f}, {took[1] / frames:6.3f} of it in programs"
        print(f"{name:28} {seconds}; x {part:5.2f}; {said[name]}")


if __name__ == "__main__":
    main()
