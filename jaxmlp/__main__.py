"""`python -m jaxmlp` is the command line."""

from jaxmlp.cli import run

run()
