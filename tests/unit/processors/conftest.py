"""Engines run in this process here, so ImageMagick's policy must be in force before the library loads."""

import os

from processors import policy

os.environ.update({name: value for name, value in policy.environment().items() if not name.startswith("MALLOC_")})
