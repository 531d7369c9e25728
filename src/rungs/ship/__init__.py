"""Using a trained net: load its run, predict, evaluate. Never imports the engine that trained it."""
