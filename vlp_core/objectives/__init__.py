"""Objectives: one idea a file, each a module from a view of one forward pass to a loss."""
