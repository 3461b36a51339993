"""What one split gives away of another, and what a corpus or a training text gives away of both."""
