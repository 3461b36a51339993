"""Raw rows become task records: rules as data, resumable, with a report of what was dropped."""
