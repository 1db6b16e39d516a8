"""``python -m kdlab``: the same as the ``kdlab`` command, also where that is not on the path."""

import sys

from kdlab.cli import main

sys.exit(main())
