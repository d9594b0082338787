"""Assets and what was made of them: announced and read, their variants and originals, and how they go."""
