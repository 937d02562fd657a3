"""The modelled host: its costs."""
