"""A real model, with the face of `Painter`: `IMAGEGEN_MODEL=stabilityai/sd-turbo`. Needs diffusers, transformers, accelerate and torch.

It is loaded once in a process, on the graphics card if there is one, and shows what is there after each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from painter import Pictures


class Diffusion:
    """A pipeline of the diffusers library. Raises what that raises when there is no such model."""

    def __init__(self, model: str) -> None:
        card = torch.cuda.is_available()
        kind = torch.float16 if card else torch.float32
        self._pipe: Any = AutoPipelineForText2Image.from_pretrained(model, torch_dtype=kind).to(
            "cuda" if card else "cpu"
        )
        self._pipe.set_progress_bar_config(disable=True)

    def paint(self, prompts: Sequence[str], steps: int) -> Iterator[Pictures]:
        """The pictures after each step. The pipeline works in a thread of its own, and hands over what it has."""
        seen: SimpleQueue[Pictures | BaseException | None] = SimpleQueue()

        def shown(pipe: Any, _step: int, _time: int, told: dict[str, Any]) -> dict[str, Any]:
            with torch.no_grad():
                decoded = pipe.vae.decode(told["latents"] / pipe.vae.config.scaling_factor).sample
            seen.put(np.asarray((decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu()))
            return told

        def work() -> None:
            try:
                self._pipe(list(prompts), num_inference_steps=steps, guidance_scale=0.0, callback_on_step_end=shown)
                seen.put(None)
            except BaseException as error:
                seen.put(error)

        thread = Thread(target=work, daemon=True)
        thread.start()
        while (one := seen.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one
        thread.join()
