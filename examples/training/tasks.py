"""A training that survives whatever happens to its worker: a checkpoint after each epoch, and the next run goes on from there."""

from __future__ import annotations

import random
from dataclasses import dataclass

import digits

from windlass import Context, Depends, Snooze, Windlass

app = Windlass(name="training")


@dataclass(frozen=True)
class Trained:
    """What came of it. epochs: those that each run of the job trained."""

    accuracy: float
    weights: digits.Weights
    epochs: list[list[int]]


@app.task(name="training.train", lane="process", timeout="1h")
def train(epochs: int = 30, pictures: int = 1000, seed: int = 1, ctx: Context = Depends()) -> Trained:
    """Train a model. The same arguments give the same model, however often the training is interrupted."""
    saved = ctx.last_checkpoint or {"weights": digits.blank(), "epochs": []}
    weights, done = saved["weights"], [*saved["epochs"], []]
    for epoch in range(sum(map(len, done)), epochs):
        loss = digits.learn(weights, list(digits.pictures(pictures, random.Random(f"{seed} {epoch}"))))
        done[-1].append(epoch)
        ctx.checkpoint({"weights": weights, "epochs": done})
        ctx.progress(epoch + 1, epochs, f"loss {loss:.3f}")
        ctx.log(f"epoch {epoch + 1} of {epochs}: loss {loss:.3f}")
        if ctx.shutting_down:  # a deploy: the next worker goes on at once, and no attempt is spent
            raise Snooze(0)
    unseen = list(digits.pictures(500, random.Random(f"{seed} unseen")))
    return Trained(digits.accuracy(weights, unseen), weights, [run for run in done if run])
