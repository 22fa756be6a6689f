"""`python -m roboloop`."""

import sys

from roboloop.cli import main

sys.exit(main())
