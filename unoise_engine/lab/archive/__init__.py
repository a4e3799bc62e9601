"""Single labelled slices, as many public sets give them, turned into cases to train and evaluate on."""
