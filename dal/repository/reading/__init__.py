"""The verbs that read: by key, by conditions, page by page, as a stream, as plain columns."""
