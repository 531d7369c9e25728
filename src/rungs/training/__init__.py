"""The engine: one door (`run.run_recipe`), one loop (`loop.train_epochs`)."""
