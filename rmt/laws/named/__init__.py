"""Named laws, one a file."""
