"""dal beside what a user would pick instead: every case side by side in one run."""
