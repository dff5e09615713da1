"""The database: embedded server, engine, bulk transfer, sky search and migrations. Knows no plug-in and no picture."""
