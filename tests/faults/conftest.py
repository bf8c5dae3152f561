"""The servers of tests/server, for this folder."""

from __future__ import annotations

from tests.server.conftest import cells_repository, fresh

__all__ = ["cells_repository", "fresh"]
