"""`python -IS residency/demo/check_claims DIR`: this folder by itself, only the standard library on the path."""

import sys
from importlib import import_module
from pathlib import Path

# Run as a folder: Python put the folder itself on its path, and the package's name is found one above.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

sys.exit(import_module("check_claims.claims").main(sys.argv[1:]))
