"""What tests and benchmarks share: real inputs, pico models, the reference pipeline."""
