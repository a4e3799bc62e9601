"""CTs: found, read, checked and written. `volume.Volume` is what every other room works on."""
