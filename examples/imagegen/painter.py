"""A small model that paints: noise becomes an abstract picture, step by step, in the style of its prompt. Runs on any processor.

The network draws each pixel from its place (a compositional pattern-producing network, Stanley 2007); words choose its weights. Like a
diffusion model it works on many prompts at once, in steps, and what is there so far can be looked at. `diffusion.py` has a real one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pictures = NDArray[np.float32]
"""Pictures x height x width x (red, green, blue), from 0 to 1."""
WIDTH = 24
"""Neurons in a layer."""
SHAPES = ((4, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, 3))
"""Of the layers: from a place to a colour."""
GAINS = (8.0, 2.5, 2.5, 0.9)
"""How much contrast a layer gives: the first ones make shapes, the last one soft colours."""


class Painter:
    """Loaded once in a process; paints any number of prompts at once."""

    def __init__(self, size: int = 256) -> None:
        self.size = size
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        x, y = np.meshgrid(axis, axis)
        radius = np.sqrt(x * x + y * y)
        self._places = np.stack([x, y, radius, np.ones_like(x)], axis=-1).reshape(-1, 4)

    def paint(self, prompts: Sequence[str], steps: int) -> Iterator[Pictures]:
        """The pictures after each step, the last of them finished. The same prompt gives the same picture."""
        weights = [_weights(prompt) for prompt in prompts]
        pixels = np.stack([_chance(prompt).random(self._places.shape, dtype=np.float32)[:, :3] for prompt in prompts])
        for step in range(steps):
            pixels[:, step::steps] = _colours(weights, self._places[step::steps])
            yield pixels.reshape(-1, self.size, self.size, 3).copy()


def _colours(weights: Sequence[Sequence[NDArray[np.float32]]], places: NDArray[np.float32]) -> Pictures:
    """The colours at some places: one pass through the network for all pictures."""
    signal = np.broadcast_to(places, (len(weights), *places.shape))
    for layer in range(len(SHAPES)):
        signal = np.tanh(signal @ np.stack([one[layer] for one in weights]))
    return (0.5 + 0.5 * signal).astype(np.float32)


def _chance(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))


def _weights(prompt: str) -> list[NDArray[np.float32]]:
    """The network of a prompt: the mean of those of its words, so that prompts with the same words look alike."""
    words = re.findall(r"\w+", prompt.lower()) or [""]
    layers = [(gain / shape[0] ** 0.5, shape) for gain, shape in zip(GAINS, SHAPES, strict=True)]
    nets = [[chance.normal(0, scale, shape) for scale, shape in layers] for chance in map(_chance, words)]
    return [np.sum(layer, axis=0).astype(np.float32) / np.sqrt(len(words)) for layer in zip(*nets, strict=True)]


def png(picture: NDArray[np.float32], size: int | None = None) -> bytes:
    """A picture as a file, smaller if a size is given."""
    image = Image.fromarray((picture * 255).astype(np.uint8))
    buffer = io.BytesIO()
    (image if size is None else image.resize((size, size))).save(buffer, "png")
    return buffer.getvalue()
