"""Models that people already have, turned into bundles once; explaining them then needs no package of theirs."""
