"""What is learned: classes, loss and metrics, one kind a module."""
