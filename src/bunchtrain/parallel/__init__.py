"""How work is spread over processes: one backend a module behind one small protocol."""
