"""What is trained: a softmax classifier of noisy digits, in plain Python, small enough for any machine. Knows nothing of jobs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

DIGITS = """
 ###    #    ###   ###     #  #####  ###  #####  ###   ###
#   #  ##   #   # #   #   ##  #     #         # #   # #   #
#  ##   #       #     #  # #  ####  #        #  #   # #   #
# # #   #     ##    ##  #  #      # ####    #    ###   ####
##  #   #    #        # #####     # #   #   #   #   #     #
#   #   #   #     #   #    #  #   # #   #   #   #   #     #
 ###   ###  #####  ###     #   ###   ###    #    ###   ###
""".strip("\n").splitlines()
"""Each is five wide and seven high, with a gap behind it."""
PIXELS = 5 * 7
NOISE = 0.08
"""How likely each pixel is the other way round."""
RATE = 0.05

Picture = list[float]
Weights = list[list[float]]


def clean(digit: int) -> Picture:
    """The digit as it should look, row by row."""
    rows = [row.ljust(60)[digit * 6 : digit * 6 + 5] for row in DIGITS]
    return [float(pixel == "#") for row in rows for pixel in row]


def pictures(number: int, chance: random.Random) -> Iterator[tuple[Picture, int]]:
    """So many noisy pictures, each with the digit that it shows."""
    for _ in range(number):
        digit = chance.randrange(10)
        yield [pixel if chance.random() > NOISE else 1 - pixel for pixel in clean(digit)], digit


def blank() -> Weights:
    """A model that knows nothing: for each digit a weight of each pixel, and one more."""
    return [[0.0] * (PIXELS + 1) for _ in range(10)]


def beliefs(weights: Weights, picture: Picture) -> list[float]:
    """How likely the picture shows each of the digits."""
    scores = [sum(map(float.__mul__, of, (*picture, 1.0))) for of in weights]
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    return [power / sum(powers) for power in powers]


def learn(weights: Weights, examples: list[tuple[Picture, int]]) -> float:
    """Go through the examples once, changing the weights; answers the mean loss."""
    loss = 0.0
    for picture, digit in examples:
        believed = beliefs(weights, picture)
        loss -= math.log(max(believed[digit], 1e-12))
        for number, of in enumerate(weights):
            step = RATE * ((number == digit) - believed[number])
            for place, pixel in enumerate((*picture, 1.0)):
                of[place] += step * pixel
    return loss / len(examples)


def accuracy(weights: Weights, examples: list[tuple[Picture, int]]) -> float:
    """The share of pictures whose digit the model tells."""
    told = (max(range(10), key=beliefs(weights, picture).__getitem__) == digit for picture, digit in examples)
    return sum(told) / len(examples)
