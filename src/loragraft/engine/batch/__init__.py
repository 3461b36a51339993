"""Many conversations answered at once, each as if it were alone."""
