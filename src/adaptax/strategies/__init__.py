"""Reference strategies: agents that nothing has trained, evaluated like all others; each a function of the spec."""
