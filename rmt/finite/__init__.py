"""What a finite width does, from numbers."""
