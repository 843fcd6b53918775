"""The project's real models and images, which the repository does not carry."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("MINADV_SHARED") or ROOT.parent / "shared" / "data")

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs ../shared/data (looked at {SHARED})")
