"""Looking at a server, and at what a program sends to it, for what the promise needs."""
