"""The executable specification of the modelled host, in plain Python.

It follows ``docs/background/machine.md``, ``tables.md`` and ``timing.md``. It is for readers who know Xen, and for
comparison with the fast engine. ``rows`` is what goes in, ``tables`` what comes out.
``host`` is the state, EPT tables (``ept``, ``recalc``, ``logdirty``) being part of it. ``turns`` says which steps may
change it next, and ``clock`` says when. What rows do when they are carried out is in ``program``, ``holds``,
``writes``, ``sync_points``, ``lookups`` and ``allocator``; what they do when something is over in ``ends``. ``locks``
and ``draw`` say who gets a lock. The two sides of a broadcast, and of other calls, are ``broadcast`` and ``target``;
``apic`` is between them. ``ledger`` makes the result from a log. Commits and functions are Xen's.
"""

from eptreplay.model.clock import Stuck, replay
from eptreplay.model.rows import Costs, Domain, Recording, Row
from eptreplay.model.tables import Ack, Broadcast, Hold, Invept, Lookups, Result

__all__ = [
    "Ack",
    "Broadcast",
    "Costs",
    "Domain",
    "Hold",
    "Invept",
    "Lookups",
    "Recording",
    "Result",
    "Row",
    "Stuck",
    "replay",
]
