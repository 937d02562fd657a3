"""The executable specification of the modelled host: ``docs/background/machine.md`` and ``tables.md`` in plain Python.

For readers who know Xen, and for comparison with the fast engine. ``rows`` is what goes in, ``tables`` what comes out.
``host`` is the state, EPT tables (``ept``, ``recalc``, ``logdirty``) being part of it. ``turns`` says which steps may
change it next, and ``clock`` says when. What rows do when they are carried out is in ``program``, ``holds``, ``writes``
and ``sync_points``; what they do when something is over in ``ends``; the two sides of a broadcast are ``broadcast`` and
``target``. Commits and functions are Xen's.
"""

from eptreplay.model.clock import Stuck, replay
from eptreplay.model.rows import Costs, Domain, Recording, Row
from eptreplay.model.tables import Ack, Broadcast, Hold, Invept, Result

__all__ = ["Ack", "Broadcast", "Costs", "Domain", "Hold", "Invept", "Recording", "Result", "Row", "Stuck", "replay"]
