"""Where a request goes, as pure functions: signals of the request, then a plan of attempts."""
