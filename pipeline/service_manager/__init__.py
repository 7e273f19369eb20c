"""What a service manager such as systemd, or `esteira start`, passes to a program, and the reports of the program to it."""
