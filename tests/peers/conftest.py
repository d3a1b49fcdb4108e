"""What the tests against other projects' rerankers share; each skips where its peer is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Neither side may ask a hub: all models are tiny, random and local.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# `python -m pytest` puts our root on the path, where `rerankers/` would hide the package.
_ROOT = Path(__file__).parents[2]
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT]
