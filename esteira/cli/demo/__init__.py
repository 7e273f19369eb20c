"""The demo: one file of each supported type made on the spot, and what must be refused, over a belt of its own."""
