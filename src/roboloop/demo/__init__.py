"""Scene + task -> seed episodes by planning."""
