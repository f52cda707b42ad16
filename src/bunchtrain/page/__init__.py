"""The status page: campaigns' progress, curves and failures in a browser, live or as one file."""
