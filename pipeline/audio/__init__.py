"""Sound as float32 arrays: clips, loudness, level and files. Knows nothing of scripts, engines or jobs."""
