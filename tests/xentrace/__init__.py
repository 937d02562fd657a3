"""What the package ``eptreplay.xentrace`` does, module by module."""
