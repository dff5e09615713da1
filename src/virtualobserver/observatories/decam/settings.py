"""Settings of the DECam drift survey; keys of the published demonstration are understood as they are."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from virtualobserver.config.settings import Settings, address, setting
from virtualobserver.observatories.decam.noirlab.question import ArchiveSettings
from virtualobserver.observatories.decam.reference import ReferenceSettings
from virtualobserver.observatories.decam.simulate.settings import SimulationSettings
from virtualobserver.observatory import ObservatorySettings
from virtualobserver.typing import Value

__all__ = ["AstromSettings", "DECamSettings", "DetrendSettings", "SkySettings", "Subset", "TargetSettings"]


class AstromSettings(Settings):
    """Where the trails are, and whose."""

    track_rate: float = setting(0.5, doc="Motion of the telescope", unit="arcsec/s", step="reduce", gt=0)
    direction: Literal[1, -1] = setting(
        1, doc="1 = the telescope moves north: in pixels stars go to +x; -1 = it moves south", step="reduce"
    )
    anchor: Literal["l", "m", "r"] = setting(
        "l",
        doc="Time the world coordinates of the table wcs hold for: l = the shutter opens, m = half of the exposure, "
        "r = it closes",
        step="reduce",
    )
    shutter_offset: float = setting(
        0.0, doc="Time after the beginning of the exposure at which the shutter opens above a chip; it sweeps the "
        "field, so that up to 1 s is not known", unit="s", step="reduce",
    )  # fmt: skip
    threshold: float = setting(7.0, doc="Of a trail, standard deviations", step="reduce", gt=0)
    reach: int = setting(
        60, doc="How far off the pointing may be, to each side", unit="pix", step="reduce", ge=5, le=500
    )
    fewest: int = setting(10, doc="Least trails with a star, for world coordinates", step="reduce", ge=3)
    strength: float = setting(
        6.0, doc="Least excess of votes of an offset over chance, standard deviations", step="reduce", gt=0
    )


class SkySettings(Settings):
    """The ring of sky around a trail."""

    radius: float | None = setting(
        None, doc="Half of the inner width of the ring; unset = 2.5 FWHM", unit="pix", step="reduce", gt=0
    )
    pad: float = setting(8.0, doc="Width of the ring", unit="pix", step="reduce", gt=0)
    cutout_size: float | None = setting(
        None,
        doc="Of the published program; understood, without effect: no cut-outs are made",
        unit="pix",
        run_only=True,
    )
    length: float | None = setting(
        None, doc="Of the published program; understood, without effect: the track says how long trails are",
        unit="pix", run_only=True,
    )  # fmt: skip


class DetrendSettings(Settings):
    """What all stars of a chip have in common, and how it is taken from each."""

    mode: Literal["median", "pca", "published"] = setting(
        "median",
        doc="median = of aligned reference stars, each star left out of its own; pca = with principal components; "
        "published = each star over the one most like it, for comparison",
        step="reduce.detrend",
    )
    radius: float | None = setting(
        None, doc="Within which references count most; unset = that which predicts best", unit="pix",
        step="reduce.detrend", gt=0,
    )  # fmt: skip
    fewest: int = setting(
        15,
        doc="References beside the star itself, without which nothing is divided by; at any time half as many",
        step="reduce.detrend",
        ge=3,
    )


class Subset(Settings):
    """Rows of a target list."""

    key: str = setting(..., doc="Column", step="fetch")
    values: list[Value] = setting(..., doc="Values of the rows that are wanted", step="fetch")


class TargetSettings(Settings):
    """Stars of interest: each gets a light curve of samples in every exposure."""

    csv_path: str | None = setting(None, doc="Target list (CSV)", step="fetch", path=True)
    vizier: str | None = setting(
        None,
        doc="Table of VizieR in its place, e.g. J/AcA/66/131/lmc; columns not named here are told by usual names",
        step="fetch",
    )
    vizier_url: str | None = address(None, doc="a TAP service with VizieR's tables; unset = CDS's")
    ra_col_name: str = setting(
        "ra",
        doc="Column of the right ascension: degrees, the unit that ends its name, or text such as 06:08:24",
        step="fetch",
    )
    dec_col_name: str = setting("dec", doc="Column of the declination, likewise", step="fetch")
    id_col_name: str = setting("star_id", doc="Column of the names", step="fetch")
    separation_cut: float = setting(
        1.0, doc="Within which a star of the catalogue is the target", unit="arcsec", step="reduce", gt=0
    )
    subset: Subset | None = setting(None, doc="Rows that are wanted; unset = all", step="fetch")

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.csv_path is not None and self.vizier is not None:
            msg = "targets: give csv_path or vizier, not both"
            raise ValueError(msg)
        return self


class DECamSettings(ObservatorySettings):
    """Settings of the survey."""

    archive: str | list[str] | None = setting(
        None,
        doc="Folder, or list of folders, with files of the Community Pipeline, a relative one from the folder of the "
        "configuration; `simulated` = the survey's simulator; unset = the live archive, see noirlab",
        run_only=True,
        path=True,
        words=("simulated",),
        aliases=("drifts_dirs",),
    )
    noirlab: ArchiveSettings = setting(
        ArchiveSettings(), doc="The NOIRLab Astro Data Archive, asked where archive is unset", step="fetch"
    )
    ccd: list[str] | None = setting(
        None, doc="Names of the chips wanted (EXTNAME), such as N24; unset = all", step="fetch", min_length=1
    )
    img_keyword: str = setting("image", doc="Token of images in names of renamed files", step="fetch")
    mask_keyword: str = setting("dqmask", doc="Token of masks in names of renamed files", step="fetch")
    weight_keyword: str = setting("wtmap", doc="Token of weights in names of renamed files", step="fetch")
    read_mask: bool = setting(True, doc="Use masks and weights, where there are some", step="fetch")
    fields: Literal["all", "position"] = setting(
        "all",
        doc="Exposures of a target: all of the archive folder, or those that point near it; the live archive is "
        "always asked by position",
        step="fetch",
    )
    field_radius: float = setting(1.1, doc="How near", unit="deg", step="fetch", gt=0, le=30)
    drift_filter: str = setting("VR", doc="Filter of the drift exposures", step="fetch")
    drift_exptime: float | None = setting(
        20.0,
        doc="Exposure time of the drift exposures, to a tenth; unset = any",
        unit="s",
        step="fetch",
        gt=0,
    )
    pointed_images_yaml_path: str | None = setting(
        None, doc="YAML file with a list of exposures that are pointed, whatever their headers say", step="fetch",
        path=True,
    )  # fmt: skip
    reference_catalogue: str | None = setting(
        None, doc="Catalogue in the columns of the published program (CSV), instead of one made from pointed frames",
        step="fetch", path=True, aliases=("photometry_cat_path",),
    )  # fmt: skip
    refcat: str | None = setting(
        None,
        doc="Gaia catalogue for proper motions and magnitudes, e.g. gaia_dr3@2024; unset = none",
        step="calibrate",
    )
    reference: ReferenceSettings = setting(
        ReferenceSettings(), doc="Stars of pointed frames", step="calibrate"
    )
    drift_astrom: AstromSettings = setting(
        AstromSettings(), doc="Where the trails are, and whose", step="reduce"
    )
    extraction: Literal["psf", "box", "joint"] = setting(
        "joint",
        doc="joint = each trail by the profile across it, those that overlap together; psf = each as if it were "
        "alone; box = sums of 11 rows",
        step="reduce",
    )
    drift_skysub: SkySettings = setting(SkySettings(), doc="Sky around the trails", step="reduce")
    detrend: DetrendSettings = setting(
        DetrendSettings(), doc="What all stars of a chip have in common", step="reduce.detrend"
    )
    spot_threshold: float = setting(
        6.0, doc="Of what is left beside the trails, standard deviations", step="reduce", gt=0
    )
    read_targets: bool = setting(True, doc="Read the target list, if there is one", step="fetch")
    targets: TargetSettings = setting(TargetSettings(), doc="Stars of interest", step="fetch")
    simulation: SimulationSettings = setting(
        SimulationSettings(), doc="Nights that are made up where archive is simulated", step="fetch"
    )
