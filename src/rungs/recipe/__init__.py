"""Recipes: typed structs, TOML, overrides, identity."""
