"""Using a trained net: load, predict, evaluate. Never imports the training engine."""
