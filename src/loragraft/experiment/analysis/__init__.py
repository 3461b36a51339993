"""What a series means: every figure of a report, with its interval and the count it rests on."""
