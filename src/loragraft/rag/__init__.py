"""Answer questions over a document collection, with citations that hold."""
