"""Settings of linking: one class, which the analysis shows to people and the search reads."""

from __future__ import annotations

from virtualobserver.config.settings import NonNegativeRange, Settings, setting

__all__ = ["LinkSettings"]


class LinkSettings(Settings):
    """Linking of source lists: which sources of different images are one mover."""

    rate: NonNegativeRange = setting(
        (0.5, 600.0), doc="Slowest and fastest motion, any direction", unit="arcsec/h", step="analyse"
    )
    min_detections: int = setting(4, doc="Images in which a mover is seen, at least", step="analyse", ge=3)
    reach: int = setting(
        3, doc="A track begins with two sources of images at most so many apart", step="analyse", ge=1
    )
    floor: float = setting(
        0.12,
        doc="Added in quadrature to the errors of positions: what the fits of the images leave",
        unit="arcsec",
        step="analyse",
        gt=0,
    )
    static_radius: float = setting(
        2.0,
        doc="Sources of different images within this are looked at as one, which stays or moves slowly",
        unit="arcsec",
        step="analyse",
        gt=0,
    )
    star_radius: float = setting(
        1.5, doc="Sources within this of one that stays are not linked", unit="arcsec", step="analyse", ge=0
    )
    clip: float = setting(
        4.5, doc="Sources further from a track are none of its own", unit="sigma", step="analyse", gt=0
    )
    max_chi2: float = setting(4.0, doc="Largest reduced chi squared of the motion", step="analyse", gt=0)
    # of simulated movers of 0.5 to 2 arcsec/h 124 of 239 are found at 5 and 89 at 6, with one false track in 83 fields,
    # a crowded one; at 4 the three stored sequences have one, at 3 thirteen
    min_motion: float = setting(5.0, doc="Least rate, in units of its error", step="analyse", ge=0)
    acceleration: float = setting(
        9.0,
        doc="The motion is accelerated where that improves chi squared by more than this",
        step="analyse",
        gt=0,
    )
    mag_scatter: float = setting(
        1.0, doc="Largest scatter of the magnitudes of a mover", unit="mag", step="analyse", gt=0
    )
    trail: float = setting(
        1.5,
        doc="Where the trail is longer than this, sources have to be stretched along the motion",
        unit="FWHM",
        step="analyse",
        gt=0,
    )
    false_alarms: float = setting(
        0.05,
        doc="Chance alignments to expect in one field from sources scattered at random; a track of few detections "
        "among many sources is refused",
        step="analyse",
        gt=0,
    )
    ghosts: float = setting(
        50.0,
        doc="No sources are linked within this of a star of magnitude 6, 0.7 times it for each magnitude fainter, to "
        "magnitude 8; needs a reference catalogue, 0 = none",
        unit="arcsec",
        step="analyse",
        ge=0,
    )
    known_stars: bool = setting(
        True,
        doc="Sources that are stars of the reference catalogue of the reduction are not linked",
        step="analyse",
    )
