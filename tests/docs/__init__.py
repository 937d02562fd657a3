"""The documentation keeps up with the package: nothing is left out, and what it shows is what comes out."""
