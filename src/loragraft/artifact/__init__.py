"""What a finished folder needs: checksums, metadata, atomic publication, resume, locks, room."""
