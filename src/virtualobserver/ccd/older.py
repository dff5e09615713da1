"""Keys of SExtractor and SCAMP, which have a place of their own, or another name here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["OLDER"]

_SEXTRACTOR: Final = (
    "CATALOG_TYPE", "DETECT_TYPE", "DETECT_MINAREA", "ANALYSIS_THRESH", "FILTER", "FILTER_NAME", "DEBLEND_NTHRESH",
    "DEBLEND_MINCONT", "CLEAN", "CLEAN_PARAM", "PHOT_AUTOPARAMS", "BACK_SIZE", "BACK_FILTERSIZE", "BACK_TYPE",
    "BACKPHOTO_TYPE", "WEIGHT_TYPE", "MASK_TYPE",
)  # fmt: skip
_SCAMP: Final = (
    "MATCH", "SOLVE_ASTROM", "SOLVE_PHOTOM", "PROPERMOTIONS", "ASTRCLIP_NSIGMA", "POSANGLE_MAXERR", "SN_THRESHOLDS",
    "FLAGS_MASK", "FULLOUTCAT_TYPE", "MERGEDOUTCAT_TYPE", "HEADER_TYPE",
)  # fmt: skip

OLDER: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(
        _SEXTRACTOR, "keys of SExtractor stand in a file that detect.config names, with detect.program"
    )
    | dict.fromkeys(_SCAMP, "keys of SCAMP stand in a file that solve.config names, with solve.program")
    | {
        "DETECT_THRESH": "photometry.threshold is the least of a source, solve.threshold that of a star to solve by",
        "PIXEL_SCALE": "solve.pixel_scale is the size of a pixel",
        "SATUR_LEVEL": "saturation is the level, in ADU",
        "CROSSID_RADIUS": "photometry.match_radius is that of stars; that of epochs is one of the search for movers",
        "POSITION_MAXERR": "solve.radius says how far off the pointing may be, in degrees",
        "PIXSCALE_MAXERR": "solve.scale_error says how far off the scale may be: 0.2 for 1.2",
        "DISTORT_DEGREES": "solve.order is the order of the distortion",
        "ASTREF_CATALOG": "refcat names the catalogue: gaia@dr3, gaia@dr2",
    }
)
