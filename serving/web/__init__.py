"""The Lens page: a shopper's photo in, the shop's products out. A small web application over the client.

It asks whatever server speaks TensorFlow Serving's protocol through `serving.AsyncClient`, reads nothing of an export,
and needs the extra `[web]`. `serving.web.application.lens` makes it; `python -m serving web` runs it.
"""

from __future__ import annotations

__all__: list[str] = []
