"""Recipes: a system with its paper's settings, one file each; `catalogue` has all of them by name."""
