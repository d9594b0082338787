"""Puts the fault run's own programs on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
