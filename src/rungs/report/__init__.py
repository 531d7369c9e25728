"""Reports: figures, tables and one HTML page, made from records and nothing else."""
