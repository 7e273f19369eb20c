"""Entry point of a child process: `python -m pipeline.sandbox CONFIGURATION`."""

import sys

from pipeline.sandbox.child import main

main(sys.argv[1])
