"""Makes the documentation's own modules importable, as Sphinx does."""

from __future__ import annotations

import sys

from tests.conftest import ROOT

sys.path.append(str(ROOT / "docs"))
