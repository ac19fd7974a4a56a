"""The verbs that write: one entity, many rows, insert or update, delete in chunks."""
