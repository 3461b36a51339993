"""Paired statistics that hold for few papers, many comparisons and answers without spread."""
