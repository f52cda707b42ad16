"""Networks, one kind a module: plain torch, one device, no parallelism."""
