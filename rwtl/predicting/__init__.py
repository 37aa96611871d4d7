"""Flow of people's own frames: images, films and recordings of waves, estimated, drawn and written."""
