"""Exports: tables of one version of a lake as CDISC files, and clinical statistics as formatted tables."""
