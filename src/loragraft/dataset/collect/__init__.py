"""Raw data from elsewhere, page by page, so that nothing is lost or paid for twice."""
