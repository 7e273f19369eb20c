"""The command line."""

from esteira.collisions import exit_on_collision

exit_on_collision("pipeline", "actors")  # before the modules that import them
