"""What the package ``eptreplay.trace`` does, module by module."""
