-- The release before runs on this schema: nothing is taken away that it relies on.

-- The version of the object that complete saw, where the bucket keeps versions: what is put over it changes nothing.
ALTER TABLE assets ADD version_id text;
