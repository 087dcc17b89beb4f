"""Request and response bodies of the REST API, each field described: what /docs shows and the client reads."""
