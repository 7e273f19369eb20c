"""The catalogue: the record of every attachment that was accepted, and how it ended."""

from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.database import CatalogueError
from pipeline.catalogue.engines import WAIT_S
from pipeline.catalogue.filters import Filters, moment_of
from pipeline.catalogue.previews import Preview, PreviewState

__all__ = ["WAIT_S", "Catalogue", "CatalogueError", "Filters", "Preview", "PreviewState", "moment_of"]
