"""What a service manager such as systemd, or `esteira start`, passes to a process, and the reports of it."""
