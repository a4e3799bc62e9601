"""Many cases: numbered, each run apart and locked, recorded, resumed, summed up; on this machine or on a Dask cluster."""
