"""What a training is: typed structs, TOML, overrides, identity."""
