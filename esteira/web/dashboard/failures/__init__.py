"""Parts of the page Failures: a group, and the selection with its dry run."""
