"""Workers that collect slices of an iteration's tasks: processes here, or actors of a Ray cluster."""
