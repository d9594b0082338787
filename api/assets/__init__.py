"""Assets: complete an upload, read one, list many."""
