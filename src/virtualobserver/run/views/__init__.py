"""What people look at: tables, figures, exports, folders. Starts nothing and changes no row."""
