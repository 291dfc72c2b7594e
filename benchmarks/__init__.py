"""The project's own measurements: holdall beside its peers, on one file system, in one run."""
