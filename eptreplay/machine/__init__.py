"""The modelled host: what its steps cost."""
