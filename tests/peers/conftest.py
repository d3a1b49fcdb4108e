"""What the tests against other projects' rerankers share; each skips where its peer is missing."""

from __future__ import annotations

import os

# Neither side may ask a hub: all models are tiny, random and local.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
