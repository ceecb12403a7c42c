"""``python -m sixloop``: see `sixloop.cli`."""

import sys

from sixloop.cli import main

if __name__ == "__main__":
    sys.exit(main())
