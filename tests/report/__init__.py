"""What the package ``eptreplay.report`` says about results."""
