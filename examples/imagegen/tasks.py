"""One prompt is one job; the worker paints several at once, with a model that is loaded once. Previews go to whoever watches."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from painter import Painter, Pictures, png
from pydantic import Field

from windlass import Batch, Context, Depends, Windlass

app = Windlass(name="imagegen")
PREVIEW = 48
"""Pixels of a preview."""


class Model(Protocol):
    """Whatever paints."""

    def paint(self, prompts: Sequence[str], steps: int) -> Iterator[Pictures]: ...


@dataclass(frozen=True)
class Prompt:
    """What is to be painted, in how many steps."""

    text: Annotated[str, Field(min_length=1, max_length=500)]
    steps: Annotated[int, Field(ge=1, le=50)] = 12


@dataclass(frozen=True)
class Picture:
    """What was painted. png: the file. beside: how many were painted at once."""

    prompt: str
    png: bytes
    beside: int


def load() -> Model:
    """The model: the small one, or the one that $IMAGEGEN_MODEL names."""
    if name := os.environ.get("IMAGEGEN_MODEL"):
        from diffusion import Diffusion

        return Diffusion(name)
    return Painter()


@app.task(
    name="imagegen.paint",
    lane="process",
    timeout="10m",
    batch=Batch(size=8, wait="50ms", by=lambda prompt: prompt.steps),
)
def paint(
    prompts: list[Prompt], ctx: Context = Depends(), model: Model = Depends(load, scope="worker")
) -> list[Picture]:
    """Paint all of these at once. The previews of all go to each; whoever watches picks its own."""
    texts = [prompt.text for prompt in prompts]
    pictures: Pictures | None = None
    for step, pictures in enumerate(model.paint(texts, prompts[0].steps), 1):
        previews = [base64.b64encode(png(one, PREVIEW)).decode() for one in pictures]
        ctx.chunk({"step": step, "previews": dict(zip(texts, previews, strict=True))})
        ctx.progress(step, prompts[0].steps)
    assert pictures is not None
    return [Picture(text, png(one), len(texts)) for text, one in zip(texts, pictures, strict=True)]
