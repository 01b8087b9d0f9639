"""A trained agent at work on real environments."""
