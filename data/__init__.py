"""Any data set of the catalog, on the hub or in a file, as rows of one shape."""
