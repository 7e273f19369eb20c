"""The HTTP side. It needs the extra `web`."""

from pipeline.extras import exit_without_extra

exit_without_extra("web", "the web app")  # before the modules that import FastAPI
