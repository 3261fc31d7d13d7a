"""The commands of `textgan`, one file a group."""
