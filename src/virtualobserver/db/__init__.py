"""The database: embedded server, engine, bulk transfer, sky search and migrations."""
