"""Reports: what a run directory holds, shown to people. Nothing here decides anything."""
