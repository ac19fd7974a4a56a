"""A module that cannot be imported."""

raise ValueError("wrong setting")
