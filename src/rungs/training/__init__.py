"""The training engine: one entry point (`run.run_recipe`), one loop (`loop.train_epochs`)."""
