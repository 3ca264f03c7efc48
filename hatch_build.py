"""What hatchling does before it packs: the dashboard's pages are built, unless they are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent / "frontend"))
import pages  # it stands beside what it builds


class Pages(BuildHookInterface[Any]):
    """For wheel and sdist. An editable install serves the folder itself, which `make frontend` fills."""

    def dependencies(self) -> list[str]:
        """Node, where there is none and it is needed."""
        return [] if pages.is_built() or pages.has_node() else [pages.WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build them."""
        if version != "editable":
            pages.build()
