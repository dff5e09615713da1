"""Settings of the search for moving objects."""

from __future__ import annotations

from typing import Literal

from virtualobserver.analysis import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import NonNegativeRange, PositiveRange, Range, Settings, setting
from virtualobserver.maths.linking.chain_settings import SsosSettings
from virtualobserver.maths.linking.settings import LinkSettings
from virtualobserver.maths.shiftstack.settings import StackSettings

__all__ = ["LinkSettings", "MoverInjection", "MovingObjectsSettings", "SsosSettings", "StackSettings"]


class MoverInjection(SimulateSettings):
    """Which movers are injected to measure what the search finds."""

    strength: Literal["likelihood", "mag"] = setting(
        "likelihood",
        doc="Draw the expected likelihood evenly, or the magnitude (needs images with a zero point)",
        step="simulate",
    )
    likelihood: NonNegativeRange = setting(
        (5.0, 20.0), doc="Least and largest expected likelihood", step="simulate"
    )
    mag: Range = setting((17.0, 20.0), doc="Brightest and faintest magnitude", unit="mag", step="simulate")
    snr: PositiveRange = setting(
        (5.0, 50.0),
        doc="Signal-to-noise ratio in one image of movers that are put into source lists, drawn evenly in the "
        "logarithm",
        step="simulate",
    )
    rate: PositiveRange = setting(
        (1.0, 120.0),
        doc="Slowest and fastest motion, drawn evenly in the logarithm from the part that is searched",
        unit="arcsec/h",
        step="simulate",
    )
    pixels_per_mover: float = setting(
        1e4,
        doc="Pixels for each mover where several are put into the same search: so many that none disturbs another",
        unit="pix",
        step="simulate",
        gt=0,
    )


class ImageCuts(Settings):
    """Which images are too bad to be searched."""

    max_fwhm: float = setting(2.0, doc="Widest stars, in units of the night's median", step="analyse", gt=1)
    min_transparency: float = setting(
        0.3,
        doc="Least light that comes through, in units of the night's median, where images have zero points",
        step="analyse",
        ge=0,
        lt=1,
    )
    max_masked: float = setting(
        0.5, doc="Largest share of pixels that are masked or have no data", step="analyse", gt=0, le=1
    )


class MovingObjectsSettings(AnalysisSettings):
    """Settings of the search for moving objects."""

    method: Literal["stack", "link", "ssos"] = setting(
        "stack",
        doc="How to search: sum images along paths; link the sources of images; the chain of filters of ssos",
        step="analyse",
    )
    stack: StackSettings = setting(StackSettings(), doc="Shift and stack", step="analyse")
    link: LinkSettings = setting(LinkSettings(), doc="Linking of source lists", step="analyse")
    ssos: SsosSettings = setting(
        SsosSettings(), doc="The chain of ssos, keys of default.ssos", step="analyse"
    )
    refcat: str | None = setting(
        None,
        doc="Reference catalogue, <name>@<version>, that says where stars are too bright to link beside; unset = none",
        step="analyse",
    )
    psf_fwhm: float | None = setting(
        None,
        doc="Full width at half maximum of a star; unset = the keyword FWHM of each image",
        unit="pix",
        step="analyse",
        gt=0,
    )
    pixel_scale: float | None = setting(
        None,
        doc="Size of a pixel; unset = from the world coordinates",
        unit="arcsec/pix",
        step="analyse",
        gt=0,
    )
    align: Literal["auto", "wcs", "stars", "none"] = setting(
        "auto",
        doc="Bring images onto one grid by world coordinates or by their stars, or they are on one; auto: by world "
        "coordinates where all images have them, else by stars where they show enough",
        step="analyse",
    )
    template: Literal["auto", "median", "none"] = setting(
        "auto",
        doc="Subtract the median of the night and mask stars; auto: where the images are not differences yet",
        step="analyse",
    )
    star_threshold: float = setting(
        4.0, doc="Pixels of the template above this are masked", unit="sigma", step="analyse", gt=0
    )
    star_grow: int = setting(
        0,
        doc="Pixels by which what is masked for a star grows, where wings that change with the seeing are left over",
        unit="pix",
        step="analyse",
        ge=0,
    )
    background_box: int = setting(
        64,
        doc="Side of the boxes in which the sky of images that are no differences is measured and subtracted; 0 = "
        "one median for the whole image",
        unit="pix",
        step="analyse",
        ge=0,
    )
    edge: int = setting(
        4,
        doc="Rows and columns left out at the edges of images that are no differences",
        unit="pix",
        step="analyse",
        ge=0,
    )
    cuts: ImageCuts = setting(ImageCuts(), doc="Images that are left out", step="analyse")
    excess_noise: float = setting(
        2.0, doc="Scatter in time beyond this times the variance replaces it", step="analyse", ge=1
    )
    zero_point_keyword: str = setting(
        "MAGZP", doc="Keyword with the AB magnitude of one unit of flux in that image", step="analyse"
    )
    zero_point: float | None = setting(
        None,
        doc="AB magnitude of one unit of flux in images that do not say it; unset = not known",
        unit="mag",
        step="analyse",
    )
    save_stamps: bool = setting(
        True, doc="Keep the combined stamp of each mover as a product", step="analyse"
    )
    memory_limit: float = setting(
        2.0,
        doc="Memory that the images of a search may take; a night that needs more is searched in tiles. One image "
        "with its variance and mask comes on top",
        unit="Gbyte",
        run_only=True,
        gt=0,
    )
    simulate: MoverInjection = setting(MoverInjection(), doc="Injection and recovery", step="simulate")
