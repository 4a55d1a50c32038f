"""The client; its public names are those of `serving`."""

from __future__ import annotations
