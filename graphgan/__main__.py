"""`python -m graphgan` is `graphgan`."""

import sys

from graphgan.cli import main

sys.exit(main())
