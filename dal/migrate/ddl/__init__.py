"""How a definition is sent: without copying, without blocking, with short waits."""
