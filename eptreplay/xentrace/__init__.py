"""The xentrace file format: event catalogue, decoder, encoder, window index, damage. Knows nothing of EPT.

Reading order: :mod:`~eptreplay.xentrace.record` (what a record looks like), :mod:`~eptreplay.xentrace.table` (the
catalogue as kernels see it), :mod:`~eptreplay.xentrace.state` (what a decoder remembers),
:mod:`~eptreplay.xentrace.decode` (the kernels), :mod:`~eptreplay.xentrace.source` (bytes from files and pipes) and
:mod:`~eptreplay.xentrace.reader` (both together).
"""
