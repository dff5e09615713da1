"""Settings of surveys with a camera: how its frames are found, calibrated, solved and measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pydantic

from virtualobserver.ccd.instrument import ANY_FOLDER, Instrument, merged
from virtualobserver.ccd.older import OLDER
from virtualobserver.ccd.rules import FrameRules
from virtualobserver.config.settings import Position, PositiveRange, Range, Settings, setting
from virtualobserver.observatory import ObservatorySettings

__all__ = ["CCDSettings", "DetectSettings", "PhotometrySettings", "SolveSettings"]


class DetectSettings(Settings):
    """What finds the sources of a frame, for its world coordinates and for its table."""

    program: Literal["builtin", "source-extractor"] = setting(
        "builtin",
        doc="What finds sources: this package, or SExtractor (source-extractor or sex on the path)",
        step="reduce.solve",
    )
    config: str | None = setting(
        None,
        doc="Configuration file of source-extractor, which then decides thresholds, filter, deblending and background; "
        "files it names are looked for beside it",
        step="reduce.solve", path=True,
    )  # fmt: skip
    timeout: float = setting(
        300.0, doc="Longest time an external program may take for one frame", unit="s", gt=0, run_only=True
    )


class SolveSettings(Settings):
    """World coordinates from the stars of a reference catalogue."""

    program: Literal["builtin", "solve-field", "scamp"] = setting(
        "builtin",
        doc="What finds which star is which: this package, astrometry.net (solve-field on the path) with an index of "
        "the stars of the reference catalogue, or scamp among these; world coordinates are fitted to all stars then",
        step="reduce.solve",
    )
    config: str | None = setting(
        None,
        doc="Configuration file of scamp, or of solve-field's engine, which names index files in place of those of the "
        "catalogue",
        step="reduce.solve", path=True,
    )  # fmt: skip

    pixel_scale: float | None = setting(
        None, doc="Size of a pixel; unset = from the header (world coordinates, or XPIXSZ and FOCALLEN)",
        unit="arcsec/pix", step="reduce.solve", gt=0,
    )  # fmt: skip
    scale_error: float = setting(
        0.2, doc="How far off the size of a pixel may be, as a fraction", step="reduce.solve", ge=0, lt=1
    )
    radius: float = setting(
        1.0, doc="How far off the pointing may be", unit="deg", step="reduce.solve", gt=0, le=30
    )
    refine: bool | Literal["auto"] = setting(
        "auto",
        doc="Frames whose headers have world coordinates: auto = they are solved, and keep their own if that fails; "
        "true = they are solved, or have none; false = they keep their own",
        step="reduce.solve",
    )
    # fainter stars add scatter and no accuracy: on six simulated frames of LSSS plates from sources above 8, 12 and 25
    # are off by 0.027, 0.025 and 0.023 arcsec, and their stars by 0.12, 0.08 and 0.04
    threshold: float = setting(
        25.0, doc="Of a source, standard deviations of a filtered pixel", step="reduce.solve", gt=0
    )
    fewest: int = setting(8, doc="Least stars of a solution", step="reduce.solve", ge=4)
    most: int = setting(
        1000, doc="Sources used, the brightest", step="reduce.solve", ge=8, not_below="fewest"
    )
    order: int = setting(
        3,
        doc="Highest order of the distortion; fewer stars carry a lower one",
        step="reduce.solve",
        ge=1,
        le=5,
    )
    highest_rms: float = setting(
        0.5, doc="Largest residuals of a solution, rms an axis", unit="pix", step="reduce.solve", gt=0
    )


class PhotometrySettings(Settings):
    """Sources of each frame and their light."""

    threshold: float = setting(
        5.0, doc="Of a source, standard deviations of a filtered pixel", step="reduce.photometry", gt=0
    )
    radii: list[float] = setting(
        [4.0, 6.0, 8.0], doc="Radii of the apertures", unit="pix", step="reduce.photometry", min_length=1
    )
    annulus: PositiveRange = setting(
        (12.0, 20.0), doc="Inner and outer radius of the ring of sky", unit="pix", step="reduce.photometry"
    )
    most: int = setting(5000, doc="Sources kept of a frame, the brightest", step="reduce.photometry", ge=1)
    stars: int = setting(
        2000, doc="Stars of the reference catalogue measured in a frame, the brightest", step="reduce.photometry",
        ge=0,
    )  # fmt: skip
    targets: dict[str, Position] = setting(
        {}, doc="Further positions measured in every frame: name to ra, dec (ICRS)", unit="deg",
        step="reduce.photometry",
    )  # fmt: skip
    match_radius: float = setting(
        1.0, doc="Within which a source is a star of the catalogue, at least one pixel", unit="arcsec",
        step="reduce.photometry", gt=0,
    )  # fmt: skip
    zero_radius: float | None = setting(
        None, doc="Aperture of the zero point, one of the radii; unset = the largest", unit="pix",
        step="reduce.photometry", gt=0,
    )  # fmt: skip
    zero_snr: float = setting(
        20.0, doc="Least signal-to-noise ratio of stars of the zero point", step="reduce.photometry", ge=0
    )
    zero_fewest: int = setting(8, doc="Least stars of a zero point", step="reduce.photometry", ge=3)
    brightest: float | None = setting(
        None,
        doc="Brightest star of the zero point",
        unit="mag",
        step="reduce.photometry",
        aliases=("MIN_MAG",),
    )
    faintest: float | None = setting(
        None,
        doc="Faintest star of the zero point",
        unit="mag",
        above="brightest",
        step="reduce.photometry",
        aliases=("MAX_MAG",),
    )
    max_mag_error: float | None = setting(
        None, doc="Largest error of a star of the zero point, in the catalogue and in the frame", unit="mag",
        step="reduce.photometry", gt=0, aliases=("MAX_MAGERR",),
    )  # fmt: skip
    zero_clip: float = setting(
        5.0, doc="Stars of the zero point that are farther off are left out", unit="sigma", step="reduce.photometry",
        gt=0, aliases=("SIGM",),
    )  # fmt: skip
    r2: float | None = setting(
        None, doc="A frame whose zero point explains less of the variance of the stars' magnitudes is flagged",
        step="reduce.photometry", ge=0, le=1, aliases=("R2",),
    )  # fmt: skip
    fwhm_radius: float | None = setting(
        None,
        doc="Radius, in widths of the stars (FWHM), of a further aperture, drawn out along trails, of which zero point "
        "and magnitudes are then made; unset = they are made in `zero_radius`",
        step="reduce.photometry", gt=0,
    )  # fmt: skip
    trail: float = setting(
        0.5, doc="Length of a trail, in widths of the stars, from which the aperture is drawn out along it",
        step="reduce.photometry", gt=0,
    )  # fmt: skip
    near_star: float = setting(
        3.0, doc="A source this near a star of the catalogue that is not itself is flagged; in widths of the stars",
        step="reduce.photometry", ge=0,
    )  # fmt: skip
    colour_term: float | None = setting(
        None, doc="Taken as known; unset = fitted where the stars have colours", step="reduce.photometry"
    )
    ab_offset: float = setting(
        0.0, doc="Added to the catalogue's magnitudes to make them AB; 0.114 for Gaia G", unit="mag",
        step="reduce.photometry",
    )  # fmt: skip


class CCDSettings(Instrument, ObservatorySettings):
    """Settings of a survey with a camera; what they leave open is as its `instrument` says."""

    instrument: ClassVar[Instrument] = Instrument()
    older: ClassVar[Mapping[str, str]] = OLDER

    night: Literal["folder", "directory", "noon", "name"] = setting(
        "folder",
        doc="What tells the night of a frame: the date of its folder, else the noon before it at the site; the name of "
        "its folder, whatever it is; only the noon; or a date in the name of its file first",
        step="fetch",
    )
    fields: Literal["all", "object", "position"] = setting(
        "all",
        doc="Which science frames are a target's: all, those whose OBJECT is its name, or those that point at it",
        step="fetch",
    )
    field_radius: float = setting(
        0.5, doc="Largest distance of a pointing from its target", unit="deg", step="fetch", gt=0
    )
    duplicates: Literal["prefix", "error"] = setting(
        "prefix",
        doc="Files of one name in several nights: each is known by its night too, or an error that names them",
        step="fetch",
    )
    ignored: FrameRules = setting(
        [],
        doc="Files that are no frames: a list of `night`, `files`, or YAML files with it",
        step="fetch",
        path=True,
    )
    corrections: FrameRules = setting(
        [],
        doc="Keywords that are wrong in headers: a list of `night`, `files`, `replace`, or YAML files with it",
        step="fetch",
        path=True,
    )
    forced: FrameRules = setting(
        [],
        doc="Kinds of frames whatever headers say: a list of `night`, `files`, `kind`, or YAML files with it",
        step="fetch",
        path=True,
    )
    temperature_bin: float = setting(
        2.0, doc="Darks within such a step of temperature make one master", unit="deg_C", step="fetch", gt=0
    )
    temperature_tolerance: float = setting(
        2.0, doc="Largest difference of temperature between a frame and its dark", unit="deg_C", ge=0
    )
    temperature_factor: float = setting(
        0.0, doc="k in exp(k (T - T0)) of the dark current; 0 = not scaled", unit="1/deg_C"
    )
    scale_darks: bool = setting(
        True, doc="Scale darks of other exposure times about the bias, where there is one"
    )
    masters_within: float = setting(30.0, doc="Largest age of a master", unit="d", ge=0)
    masters_warn: float = setting(
        30.0, doc="Age of a master beyond which what it is used for is flagged", unit="d", step="reduce", ge=0
    )
    fewest_frames: int = setting(
        3, doc="Frames of a master below which what it is used for is flagged: with fewer, cosmic rays stay in it",
        step="reduce", ge=1,
    )  # fmt: skip
    without_dark: Literal["refuse", "flag", "accept"] = setting(
        "refuse",
        doc="A frame for which there is neither a dark that suits nor a bias, or only darks that do not suit: "
        "an error, or calibrated as far as possible and flagged; accept = the same, but a bias alone is enough",
        step="reduce",
    )
    without_bias: Literal["nothing", "level"] = setting(
        "nothing",
        doc="A frame without bias and dark: nothing is subtracted, or the median of the nearest bias of the camera "
        "in another mode; flagged both",
        step="reduce",
    )
    without_flat: Literal["accept", "flag"] = setting(
        "accept", doc="A frame without a flat is used, or used and flagged", step="reduce"
    )
    hot_sigma: float = setting(
        5.0, doc="Hot pixels exceed the median dark by so much", unit="sigma", step="calibrate", gt=0
    )
    flat_sigma: float = setting(
        9.0, doc="Bad pixels differ from their neighbours in the flat by so much", unit="sigma",
        step="calibrate", gt=0,
    )  # fmt: skip
    flat_range: Range = setting(
        (500.0, 50000.0), doc="Levels of flats above the dark that are used", unit="adu", step="calibrate"
    )
    flat_snr: float = setting(50.0, doc="Least signal-to-noise ratio of a flat", step="calibrate", ge=0)
    flat_test: Literal["both", "ratio", "flat"] = setting(
        "both",
        doc="Where bad pixels are looked for: in the flat; in the ratio of flats of two levels that differ by more "
        "than 10 %, which shows those that do not respond linearly, else in the flat; or in both",
        step="calibrate",
    )
    halo_sigma: float = setting(
        1.0,
        doc="Light of saturated stars is masked out to where it falls below so much of the noise of a pixel; 0 = not",
        unit="sigma", step="reduce", ge=0,
    )  # fmt: skip
    halo_counts: float | None = setting(
        None,
        doc="Counts from which a star has a halo; unset = saturated ones",
        unit="adu",
        step="reduce",
        gt=0,
    )
    halo_radius: float = setting(100.0, doc="Largest radius of a halo", unit="pix", step="reduce", gt=0)
    master_change: float = setting(
        0.05,
        doc="Part of the pixels in which a dark or flat may differ by more than 6 standard deviations from that of "
        "the night before; beyond, frames are flagged; 1 = not compared",
        step="reduce", gt=0, le=1,
    )  # fmt: skip
    keep_counts: bool = setting(
        False, doc="Keep how many frames went into each pixel of a master", step="calibrate"
    )
    cosmic_rays: Literal["flag", "clean", "off"] = setting(
        "flag", doc="Cosmic rays: set their mask bit, replace their pixels as well, or nothing", step="reduce"
    )
    background_statistics: bool = setting(
        False,
        doc="Measure mean, median, scatter and MAD of the whole background of each frame",
        step="reduce",
    )
    memory_limit: float = setting(
        2.0, doc="Memory that combining frames may use", unit="Gbyte", run_only=True, gt=0
    )
    refcat: str | None = setting(
        None, doc="Reference catalogue, <name>@<version>, for world coordinates and zero points; unset = none",
        step="reduce.solve",
    )  # fmt: skip
    solver: str | None = setting(
        None, doc="Reference catalogue of the world coordinates, if another than refcat", step="reduce.solve"
    )
    detect: DetectSettings = setting(
        DetectSettings(), doc="What finds the sources of each frame", step="reduce.solve"
    )
    solve: SolveSettings = setting(
        SolveSettings(), doc="World coordinates of each frame", step="reduce.solve", aliases=("astrometry",)
    )
    photometry: PhotometrySettings = setting(
        PhotometrySettings(), doc="Sources of each frame", step="reduce.photometry"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_the_instrument(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        return merged(cls.instrument.model_dump(exclude_unset=True), given)

    @pydantic.model_validator(mode="after")
    def _check_layout(self) -> CCDSettings:
        if self.layout != ANY_FOLDER and self.layout not in self.layouts:
            known = ", ".join([ANY_FOLDER, *self.layouts])
            msg = f"there is no layout {self.layout!r}; there are {known}"
            raise ValueError(msg)
        return self
