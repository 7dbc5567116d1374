"""What an initialization does to a network, one picture each."""
