"""From lines to chunks: what is spoken, whole sentences, breaths, languages, how long it will take."""
