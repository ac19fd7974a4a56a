"""What is said on a connection: login, state, statements, the end of a transaction, rows."""
