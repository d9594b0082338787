"""Uploads in parts, in the words of Uppy's S3 multipart: `/api/v1/uploads`."""
