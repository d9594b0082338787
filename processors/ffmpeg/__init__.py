"""Running ffmpeg and ffprobe: confined, under limits, and what both video and audio ask them."""
