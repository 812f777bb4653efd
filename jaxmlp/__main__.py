"""`python -m jaxmlp` is the command line."""

import sys

from jaxmlp.cli import main

sys.exit(main())
