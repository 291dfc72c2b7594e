"""holdall: one signed bundle, every installed form."""

__version__ = "0.1.0"
