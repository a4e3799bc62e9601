"""How fast every method is, beside the peers, on one machine in one run: Table 2 of the paper for today."""
