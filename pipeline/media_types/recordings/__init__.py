"""Audio and video."""
