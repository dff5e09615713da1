"""Settings of the LSSS survey: its cameras, and what is done where calibration frames are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import pydantic

from virtualobserver.ccd.instrument import Instrument, KeywordSettings, Place, ReadAs, merged
from virtualobserver.ccd.older import OLDER
from virtualobserver.ccd.settings import CCDSettings, PhotometrySettings, SolveSettings
from virtualobserver.config.settings import Date, PositiveRange, Settings, Size, Span, names_of, setting
from virtualobserver.conventions import NO_FILTER
from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, Value

__all__ = ["CAMERAS", "LSSSSettings", "SimulationSettings"]

_MASTERS: Final = r"(?i)(?P<type>bias|flat)[^/]*$"
"""A file with one of these words in its name is a calibration frame, whatever its header says."""
_MADE: Final = r"_red\.|_mask\.|_MASK\.|_CAL\."
"""Names of what Filabres and `vo export` write."""

CAMERAS: Final[Mapping[str, Instrument]] = {
    "lsss": Instrument(
        camera="SBIG ST-10 3",
        name_type=_MASTERS,
        made=_MADE,
        only={"INSTRUME": ["SBIG ST-10 3 CCD Camera"]},
        dark_level=3000.0,
        site=Place(longitude=-2.566, latitude=37.983, height=1530.0),
        mpc_code="J75",
        keywords=KeywordSettings(
            gain=ReadAs(keyword=["EGAIN", "GAIN"], unit="electron / adu", default=1.3),
            read_noise=ReadAs(keyword=["RDNOISE", "READNOIS", "RON"], unit="electron", default=9.0),
            filter=["FILTER", "CLRBAND"],
            no_filter=NO_FILTER,
        ),
        saturation=65000.0,
    ),
    "cafos": Instrument(
        camera="CAFOS 2.2",
        name_type=_MASTERS,
        made=_MADE,
        only={"INSTRUME": ["CAFOS 2.2"]},
        site=Place(longitude=-2.5463, latitude=37.2236, height=2168.0),
        mpc_code="493",
        keywords=KeywordSettings(
            gain=ReadAs(keyword=["CCDSENS", "EGAIN", "GAIN"], unit="electron / adu"),
            read_noise=ReadAs(keyword=["CCDREAD", "RDNOISE", "RON"], unit="electron"),
            filter=["INSFLNAM", "FILTER"],
            no_filter=NO_FILTER,
        ),
        saturation=65000.0,
    ),
    "generic": Instrument(
        name_type=_MASTERS,
        made=_MADE,
        keywords=KeywordSettings(no_filter=NO_FILTER),
    ),
}
"""The cameras that are known by name. Gain and read noise of the first are those of the makers of its sensor."""


class SimulationSettings(Settings):
    """The nights that are made up where ``archive`` is ``simulated``."""

    first_night: Date = setting("2017-02-25", doc="Date of the first night", step="fetch")
    nights: int = setting(1, doc="Nights", step="fetch", ge=1)
    frames: int = setting(12, doc="Science frames of a night", step="fetch", ge=1)
    size: Size = setting((736, 1092), doc="Rows and columns", unit="pix", step="fetch")
    cadence: float = setting(240.0, doc="From one frame to the next", unit="s", step="fetch", gt=0)
    exptime: float = setting(60.0, doc="Exposure time", unit="s", step="fetch", gt=0)
    scale: float = setting(2.226, doc="Size of a pixel", unit="arcsec/pix", step="fetch", gt=0)
    distortion: float = setting(
        1.5, doc="Cubic distortion at the edge of the frame", unit="pix", step="fetch", ge=0
    )
    dither: float = setting(6.0, doc="Largest shift between frames", unit="arcsec", step="fetch", ge=0)
    flip: bool = setting(True, doc="The telescope turns over in the middle of the night", step="fetch")
    world: bool = setting(
        True, doc="World coordinates in the headers, as if frames were solved", step="fetch"
    )
    pointing_error: float = setting(
        0.0, doc="Of RA and DEC in the headers", unit="arcmin", step="fetch", ge=0
    )
    stars: int = setting(500, doc="Stars in the frame", step="fetch", ge=0)
    faintest: float = setting(19.5, doc="Faintest star", unit="mag", step="fetch")
    zero_point: float = setting(
        21.2, doc="Magnitude of one count a second; 25.6 of one in 60 s", unit="mag", step="fetch"
    )
    colour_term: float = setting(0.1, doc="Of the filter against Gaia G", step="fetch")
    movers: int = setting(6, doc="Moving objects of a night", step="fetch", ge=0)
    known: bool = setting(
        False,
        doc="Show the bodies of the orbits simulated@2, which come with the package, too, where they are in the field",
        step="fetch",
    )
    mag: Span = setting((14.0, 17.5), doc="Brightest and faintest mover", unit="mag", step="fetch")
    rate: PositiveRange = setting((5.0, 200.0), doc="Slowest and fastest", unit="arcsec/h", step="fetch")
    fwhm: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat] = setting(
        (2.2, 2.8), doc="Width of stars, first and last", unit="pix", step="fetch"
    )
    sky: float = setting(900.0, doc="Sky of a frame", unit="adu", step="fetch", ge=0)
    clouds: float = setting(
        0.1, doc="Light that clouds take, at most; in one frame of a night four times as much", step="fetch", ge=0,
        lt=0.25,
    )  # fmt: skip
    cosmics: float = setting(15.0, doc="Cosmic rays in a frame, mean number", step="fetch", ge=0)
    satellites: float = setting(0.1, doc="Trails of satellites in a frame, mean number", step="fetch", ge=0)


_HABITS: Final[Record] = {
    "night": "directory",
    "without_dark": "accept",
    "without_bias": "level",
    "without_flat": "flag",
    "background_statistics": True,
    "photometry": {
        "fwhm_radius": 1.3,
        "brightest": 12.0,
        "faintest": 16.0,
        "max_mag_error": 0.1,
        "r2": 0.98,
    },
}
"""One folder a night, what is done where calibration frames are missing, and the stars of zero points."""
_SCALES: Final[Record] = {
    "lsss": {"solve": {"pixel_scale": 2.226}},  # 6.8 um binned 2 x 2 at f = 1260 mm
    "cafos": {"solve": {"pixel_scale": 0.53}},
}


_OLDER: Final[Mapping[str, str]] = {
    **OLDER,
    "RECALIB": "it stands below analyses.image_quality.outliers, or is `action: retry(1)` there",
    # setup_filabres.yaml
    "instrument": "preset says which camera it is",
    "datadir": "archive names the folder of the nights",
    "gaiadr_source": "refcat names the catalogue: gaia@dr3, gaia@dr2",
    "tweak_order_astrometry": "solve.order is the order of the distortion",
    "ignored_images_file": "ignored names that file",
    "image_header_corrections_file": "corrections names that file",
    "forced_classifications_file": "forced names that file",
    "default_param": "columns are always the same",
    "config_sex": "detect.config names that file, with detect.program: source-extractor",
    "config_scamp": "solve.config names that file, with solve.program: scamp",
}
"""Keys of autossos and Filabres that stand elsewhere here."""


class LSSSSettings(CCDSettings):
    """Settings of LSSS, and of cameras like it."""

    instrument: ClassVar[Instrument] = CAMERAS["lsss"]
    older: ClassVar[Mapping[str, str]] = _OLDER

    preset: str = setting(
        "lsss",
        doc="Camera: lsss, cafos, generic, or a YAML file that says what `Instrument` can say",
        run_only=True, path=True, words=tuple(CAMERAS), aliases=("INSTRUMENT",),
    )  # fmt: skip
    flipstat: bool = setting(
        True,
        doc="A master is turned as its frame is where FLIPSTAT or ROWORDER differ; false = these say nothing",
        aliases=("FLIPSTAT",),
    )
    fewest_frames: int = setting(
        1, doc="Frames of a master below which what it is used for is flagged; nights come with finished masters",
        step="reduce", ge=1,
    )  # fmt: skip
    masters_within: float = setting(3650.0, doc="Largest age of a master", unit="d", ge=0)
    simulation: SimulationSettings = setting(
        SimulationSettings(), doc="Nights that are made up", step="fetch"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_the_instrument(cls, given: Value) -> Value:
        if not isinstance(given, Mapping):
            return given
        ours = names_of(cls)
        given = {ours.get(str(key), str(key)): value for key, value in given.items()}
        preset = given.get("preset", "lsss")
        try:
            camera = CAMERAS[preset] if preset in CAMERAS else Instrument.read(preset)
        except ConfigError as error:
            msg = f"preset: {error}; known by name are {', '.join(CAMERAS)}"
            raise ValueError(msg) from error
        plain, own = (one.model_dump(exclude_unset=True) for one in (CAMERAS["generic"], camera))
        known = merged(plain, own)  # masters are told by their names, whatever the camera
        usual = {**_HABITS, **_SCALES.get(preset, {}), **known}
        groups: dict[str, type[Settings]] = {"photometry": PhotometrySettings, "solve": SolveSettings}
        # an older name beside the proper one of a default would be two values for one setting
        named = {
            key: {names_of(groups[key]).get(name, name): one for name, one in value.items()}
            if key in groups and isinstance(value, Mapping)
            else value
            for key, value in given.items()
        }
        return merged(usual, named)
