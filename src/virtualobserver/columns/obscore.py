"""The columns of ObsCore, by which the Virtual Observatory finds data."""

from __future__ import annotations

from typing import Final

from virtualobserver.columns.column import Column

__all__ = ["OBSCORE"]


def _obscore(name: str, kind: str, ucd: str, utype: str, description: str) -> Column:
    datatype, _, unit = kind.partition(" ")
    return Column(name, unit, ucd, description, utype=f"obscore:{utype}", datatype=datatype)


OBSCORE: Final[tuple[Column, ...]] = (
    _obscore("dataproduct_type", "char", "meta.code.class", "ObsDataset.dataProductType", "Type of data product"),
    _obscore("calib_level", "int", "meta.code;obs.calib", "ObsDataset.calibLevel", "Calibration level, 0 to 4"),
    _obscore("obs_collection", "char", "meta.id", "DataID.collection", "Name of the data collection"),
    _obscore("obs_id", "char", "meta.id", "DataID.observationID", "Observation identifier"),
    _obscore(
        "obs_publisher_did", "char", "meta.ref.ivoid", "Curation.publisherDID", "Identifier of the data set"
    ),
    _obscore("access_url", "char", "meta.ref.url", "Access.reference", "Address of the data"),
    _obscore("access_format", "char", "meta.code.mime", "Access.format", "Media type of the data"),
    _obscore("access_estsize", "long kbyte", "phys.size;meta.file", "Access.size", "Size of the file"),
    _obscore("target_name", "char", "meta.id;src", "Target.name", "Name of the target"),
    _obscore(
        "s_ra", "double deg", "pos.eq.ra", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1",
        "Right ascension of the centre, ICRS",
    ),
    _obscore(
        "s_dec", "double deg", "pos.eq.dec", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2",
        "Declination of the centre, ICRS",
    ),
    _obscore(
        "s_fov", "double deg", "phys.angSize;instr.fov", "Char.SpatialAxis.Coverage.Bounds.Extent.diameter",
        "Diameter of the region covered",
    ),
    _obscore(
        "s_region", "char", "pos.outline;obs.field", "Char.SpatialAxis.Coverage.Support.Area",
        "Region covered, as STC-S",
    ),
    _obscore(
        "s_resolution", "double arcsec", "pos.angResolution", "Char.SpatialAxis.Resolution.Refval.value",
        "Spatial resolution, full width at half maximum",
    ),
    _obscore("s_xel1", "long", "meta.number", "Char.SpatialAxis.numBins1", "Pixels along the first axis"),
    _obscore("s_xel2", "long", "meta.number", "Char.SpatialAxis.numBins2", "Pixels along the second axis"),
    _obscore(
        "t_min", "double d", "time.start;obs.exposure", "Char.TimeAxis.Coverage.Bounds.Limits.StartTime",
        "Start, MJD",
    ),
    _obscore(
        "t_max", "double d", "time.end;obs.exposure", "Char.TimeAxis.Coverage.Bounds.Limits.StopTime", "End, MJD"
    ),
    _obscore(
        "t_exptime", "double s", "time.duration;obs.exposure", "Char.TimeAxis.Coverage.Support.Extent",
        "Total exposure time",
    ),
    _obscore(
        "t_resolution", "double s", "time.resolution", "Char.TimeAxis.Resolution.Refval.value",
        "Temporal resolution",
    ),
    _obscore("t_xel", "long", "meta.number", "Char.TimeAxis.numBins", "Elements along the time axis"),
    _obscore(
        "em_min", "double m", "em.wl;stat.min", "Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit",
        "Shortest wavelength, in vacuum",
    ),
    _obscore(
        "em_max", "double m", "em.wl;stat.max", "Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit",
        "Longest wavelength, in vacuum",
    ),
    _obscore(
        "em_res_power", "double", "spect.resolution", "Char.SpectralAxis.Resolution.ResolPower.refVal",
        "Spectral resolving power",
    ),
    _obscore("em_xel", "long", "meta.number", "Char.SpectralAxis.numBins", "Elements along the spectral axis"),
    _obscore("o_ucd", "char", "meta.ucd", "Char.ObservableAxis.ucd", "UCD of what was measured"),
    _obscore(
        "pol_states", "char", "meta.code;phys.polarization", "Char.PolarizationAxis.stateList",
        "Polarisation states",
    ),
    _obscore("pol_xel", "long", "meta.number", "Char.PolarizationAxis.numBins", "Number of polarisation states"),
    _obscore(
        "facility_name", "char", "meta.id;instr.tel", "Provenance.ObsConfig.Facility.name",
        "Name of the telescope or observatory",
    ),
    _obscore(
        "instrument_name", "char", "meta.id;instr", "Provenance.ObsConfig.Instrument.name",
        "Name of the instrument",
    ),
)  # fmt: skip
"""The mandatory columns of ObsCore 1.1 (IVOA recommendation of 2017-05-09, table 5), as the view has them."""
