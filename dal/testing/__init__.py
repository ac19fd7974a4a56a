"""Real servers, a real Lambda runtime and a bad network, for tests; not for use in a function."""
