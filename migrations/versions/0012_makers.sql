-- The release before runs on this schema: it leaves the column empty, as it is for assets that it made.

-- Whose key or token announced the asset, as the audit log calls them: an entry there for each upload would be a row more.
ALTER TABLE assets ADD COLUMN created_by text;
