"""Times of one pCPU in a replay."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Timer:
    """Times of one pCPU."""

    due: int = 0
    """When the phase of its program is over, or should have been, as far as that hangs on time."""
    left: int | None = None
    """What is left of a phase of work, while an interrupt or a pause keeps the pCPU from it."""
    free: int = 0
    """When the call that its handler is at, or the re-entry, is over."""
    on: int = 0
    """When interrupts are on again behind a VM exit."""
    arrives: int = 0
    """When the interrupt for the calls that it is to carry out arrives."""
    flush_arrives: int = 0
    """When the interrupt of the allocator's flush arrives."""
    acked: int = 0
    """When the last acknowledgement so far of its call arrives."""
    carried: int = 0
    """When its last row was carried out."""
    ended: int = 0
    """When its last row ended."""
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    """Its modes until ``counted``, each from when to when."""
    counted: int = 0
    since: int = 0
    """When its mode began, were it for 0 ns."""
    lasted: int = 0
    """How long the mode before it had lasted."""
    cost: int = 0
    """As recorded: what is to be taken from the gap that it is in, so far, besides the row before it."""
    kept_since: int | None = None
    """As recorded: since when it has been kept from its work."""

    def count(self, mode: str, now: int) -> None:
        """Count the time since the last count for the mode that the pCPU has been in."""
        if now > self.counted:
            begin = self.spans.pop()[1] if self.spans and self.spans[-1][0] == mode else self.counted
            self.spans.append((mode, begin, now))
        self.counted = now

    def change(self, mode: str, new_mode: str, now: int) -> None:
        """Count the time, and see whether the mode changes."""
        self.count(mode, now)
        if mode != new_mode:
            self.lasted, self.since = now - self.since, now

    def take_cost(self, now: int) -> int:
        """Return what is to be taken from the gap of a row that is carried out."""
        cost = self.cost + self.ended - self.carried
        self.cost, self.carried = 0, now
        return cost
