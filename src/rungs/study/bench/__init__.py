"""How fast a recipe trains and infers beside what the chip can do: `rungs bench`."""
