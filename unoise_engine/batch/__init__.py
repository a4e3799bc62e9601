"""Many cases: numbered, run apart and locked, recorded, resumed, summed up; on this machine or on a Dask cluster."""
