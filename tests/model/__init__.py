"""What ``eptreplay.model`` does, rule by rule of ``docs/background/machine.md``, and what holds for any workload."""
