"""A small service on `dal`: models, repository, handlers, and a demo that runs them."""
