"""Shuffles that depend on the query and not on the machine, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence


def shuffled(items: Sequence[int], *key: object) -> list[int]:
    """Return `items` in an order drawn by `key`, such as the query's id and a round's number."""
    order = list(items)
    random.Random("\0".join(map(str, key))).shuffle(order)
    return order
