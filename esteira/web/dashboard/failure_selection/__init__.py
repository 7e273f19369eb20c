"""Parts of the page Failures: the selection, and the progress of a bulk replay."""
