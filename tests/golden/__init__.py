"""What ``eptreplay report X --format json`` says about each recording, and why its main counts are right."""
