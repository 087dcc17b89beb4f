"""What people look at: the one definition of every figure, and the pages."""
