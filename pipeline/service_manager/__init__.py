"""What a service manager such as systemd, or `esteira start`, passes to a program, and what the program tells it."""
