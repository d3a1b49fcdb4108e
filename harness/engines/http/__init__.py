"""The http engine; its client is rewritten on another branch."""

from __future__ import annotations

from ..fake import FakeEngine, overlap
from .options import HttpOptions


class HttpEngine(FakeEngine):
    """A vLLM server, or another that speaks as OpenAI's does."""

    Options = HttpOptions

    def __init__(self, options: HttpOptions) -> None:
        super().__init__(overlap, name="http")
        self.is_real = True
