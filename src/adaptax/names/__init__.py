"""All that knows names, in an order without a circle: provenance and defaults know no other of these; then registry,
config, evaluation, animation, trained, results, each of which may use the ones before it."""
