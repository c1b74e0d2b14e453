"""``python -m grinder.cli``, the same as ``grinder``."""

import sys

from grinder.cli.main import main

sys.exit(main())
