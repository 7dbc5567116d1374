"""A network at initialization: its layers, its signal, its Jacobian's law."""
