"""Fusion: how the modalities meet. Each takes the sequences of pictures and texts and returns a Fused."""
