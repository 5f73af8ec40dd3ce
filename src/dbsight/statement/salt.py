"""The salt of every hash of values: none of them can be guessed from outside the process."""

from __future__ import annotations

import os
from typing import Final

SALT: Final = int.from_bytes(os.urandom(8), "big") | 1
"""Random, never zero; forked children keep it, so that their hashes compare with their parent's."""
