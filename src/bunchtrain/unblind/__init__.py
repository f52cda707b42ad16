"""Opening black boxes: what was hidden beside what was found. Nothing else in the project opens a sealed answer."""
