"""What a revision imports from `dal.migrate`."""
