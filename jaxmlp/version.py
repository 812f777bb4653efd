"""The version, which the package has whether it is installed or lies on the path."""

__version__ = "0.1.0"
