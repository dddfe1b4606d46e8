"""The report: a folder of HTML that opens from disk, with its data as scripts that a page loads when it needs them."""
