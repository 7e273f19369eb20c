"""A module whose library is missing on this machine."""

raise OSError("libnowhere.so.1: cannot open shared object file: No such file or directory")
