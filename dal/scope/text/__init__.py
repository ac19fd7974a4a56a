"""Reading the text of statements: what the server would make of it."""
