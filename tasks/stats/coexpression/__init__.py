"""Weighted gene co-expression networks: correlation to modules, their hubs, and how well they hold."""
