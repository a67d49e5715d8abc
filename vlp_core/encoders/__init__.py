"""Encoders: what makes a sequence of states out of pictures or texts. What timm or open_clip has comes from there."""
