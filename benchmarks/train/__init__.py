"""What training promises: speed beside a bare trainer, what packing brings, sharding that changes no result."""
