"""LoRA and QLoRA fine-tuning: runs, grids, tracking."""
