"""Heads: what an objective reads out of states."""
