"""The local review page and its HTTP API."""
