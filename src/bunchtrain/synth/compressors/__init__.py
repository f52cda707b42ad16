"""How a trained student's weights become narrow and few, a kind to a file."""
