"""``python -m virtualobserver`` is the command ``vo``."""

import sys

from virtualobserver.cli import main

if __name__ == "__main__":
    sys.exit(main())
