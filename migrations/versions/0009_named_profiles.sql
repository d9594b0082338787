-- Only an addition: the release before runs on this schema, and makes of such an upload what it makes of every one.

-- The profiles that an upload named when it was announced. NULL: all that its tenant has chosen.
ALTER TABLE assets ADD COLUMN profiles text[];
