"""What people did with what was shown to them: kept so that nothing acknowledged is lost, read only for a named purpose."""
