"""Every recording of a real host, read by us and by others."""
