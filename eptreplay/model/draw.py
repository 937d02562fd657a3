"""Drawing the heir of a lock for which all who wait race: the only thing that is left to chance."""

from __future__ import annotations

from itertools import accumulate

from eptreplay.model.host import Host, Waiter
from eptreplay.model.setting import Setting

WORD = 1 << 64


def draw(setting: Setting, host: Host, c: int, waiting: tuple[Waiter, ...]) -> tuple[Host, Waiter]:
    """Return the host after the draw, and who has won it. Of one who waits alone nothing is drawn."""
    if len(waiting) == 1:
        return host, waiting[0]
    costs, number = setting.costs, setting.pcpus[c]
    weights = [costs.weight[costs.distance(number, setting.pcpus[waiter.c])] for waiter in waiting]
    pcpu = host.pcpus[c]
    drawn = (mix(setting.seed, number, pcpu.draws) >> 32) * sum(weights) >> 32
    heir = next(i for i, total in enumerate(accumulate(weights)) if total > drawn)
    return host.with_pcpu(c, pcpu._replace(draws=pcpu.draws + 1)), waiting[heir]


def mix(seed: int, pcpu: int, draws: int) -> int:
    """Return 64 bits that look random: the finalizer of SplitMix64 behind a sum of odd multiples."""
    x = (seed * 0x9E3779B97F4A7C15 + pcpu * 0xBF58476D1CE4E5B9 + draws * 0x94D049BB133111EB) % WORD
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB % WORD
    return x ^ x >> 31
