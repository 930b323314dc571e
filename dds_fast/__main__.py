"""``python -m dds_fast``: the command line."""

import sys

from dds_fast.command.main import main

if __name__ == "__main__":
    sys.exit(main())
