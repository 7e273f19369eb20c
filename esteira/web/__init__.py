"""The HTTP side. It needs the extra `web`."""

from esteira.collisions import exit_on_collision

exit_on_collision("pipeline", "actors")  # before the modules that import them

from pipeline.extras import exit_without_extra

exit_without_extra("web", "the web app")  # before the modules that import FastAPI
