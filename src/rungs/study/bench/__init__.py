"""The speed of a recipe's training and inference relative to the hardware's limits: `rungs bench`."""
