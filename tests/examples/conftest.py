from __future__ import annotations

from collections.abc import Iterator

import pytest
from studio_server import Studio, running_studio

LIMIT = 3_000_000


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that takes uploads of up to `LIMIT` bytes."""
    with running_studio(tmp_path_factory.mktemp("studio") / "data", STUDIO_UPLOAD_LIMIT=str(LIMIT)) as running:
        yield running
