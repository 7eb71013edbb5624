"""Anything that yields segments, so that all of it is measured in the same way."""

from bottomup_fast.evaluation.peers.method import METHODS, Method, open_method

__all__ = ["METHODS", "Method", "open_method"]
