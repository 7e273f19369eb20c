"""Pauses on the pages: the banner, the buttons with their confirmation, and what waits because of them."""
